import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const resolve = (name: string) => fileURLToPath(import.meta.resolve(name))

export default defineConfig({
  resolve: {
    // For the examples, which have dependencies of their own.
    alias: {
      '@latchkey/sdk/server': resolve('./src/server/index.ts'),
      '@modelcontextprotocol/server': resolve('@modelcontextprotocol/server'),
    },
  },
  test: {
    include: ['test/**/*.test.ts'],
    exclude: [
      'test/next_app.test.ts', // which has vitest.next.config.ts
      'test/runtimes.test.ts', // which has vitest.runtimes.config.ts
      // A comparison with lines by hand, for npm run compare and make soak: the tests in the browser have its faults.
      ...(process.env['LATCHKEY_SDK_COMPARE'] ? [] : ['test/comparison.test.ts']),
    ],
    globalSetup: ['test/build_server.ts'],
    testTimeout: 20_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    execArgv: ['--expose-gc'],
  },
})
