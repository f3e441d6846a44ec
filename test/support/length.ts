/** WAL2RABBIT_TEST_LONG=1: tests go to their full length. Else they take a part of what repeats itself, so that npm test stays short. */
export const isLong = process.env.WAL2RABBIT_TEST_LONG === '1'
