/** Waits until `promise` is settled, either way, but at most `duration` milliseconds. True when it was. */
export async function settledWithin(promise: Promise<unknown>, duration: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), duration)
  })
  const settled = promise.then(
    () => true,
    () => true,
  )
  const inTime = await Promise.race([settled, late])
  clearTimeout(timer)
  return inTime
}
