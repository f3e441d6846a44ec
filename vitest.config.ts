import { defineConfig } from 'vitest/config'

const needsServices = ['test/**/*.pg.test.ts', 'test/**/*.amqp.test.ts', 'test/**/*.e2e.test.ts']

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
        },
      },
      {
        test: {
          name: 'services',
          include: needsServices,
          globalSetup: 'test/support/global-setup.ts',
          // The servers are shared, and two cores serve them and the tests.
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 120_000,
          teardownTimeout: 30_000,
        },
      },
    ],
  },
})
