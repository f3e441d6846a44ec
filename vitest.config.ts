import { defineConfig } from 'vitest/config'

const needsServices = ['test/**/*.pg.test.ts', 'test/**/*.amqp.test.ts', 'test/**/*.e2e.test.ts']
const { WAL2RABBIT_TEST_POSTGRES_URL, WAL2RABBIT_TEST_RABBIT_URL } = process.env
const serversAreGiven = Boolean(WAL2RABBIT_TEST_POSTGRES_URL || WAL2RABBIT_TEST_RABBIT_URL)

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: needsServices,
          // Some start a process, which takes seconds on a machine that is busy with other things.
          testTimeout: 20_000,
          maxWorkers: 2,
          // Hundreds of small files: a process for each would take longer than the tests.
          isolate: false,
        },
      },
      {
        test: {
          name: 'services',
          include: needsServices,
          globalSetup: 'test/support/global-setup.ts',
          // Each worker has servers of its own, unless they are given; two cores serve them and the tests.
          maxWorkers: serversAreGiven ? 1 : 2,
          sequence: { groupOrder: 1 },
          testTimeout: 60_000,
          hookTimeout: 120_000,
          teardownTimeout: 30_000,
        },
      },
    ],
  },
})
