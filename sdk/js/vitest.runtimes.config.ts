import { defineConfig } from 'vitest/config'

// The packed package in Node, Deno, Bun and workerd: `npm run test:runtimes`.
export default defineConfig({
  test: { include: ['test/runtimes.test.ts'], globalSetup: ['test/build_server.ts'], testTimeout: 60_000, hookTimeout: 120_000 },
})
