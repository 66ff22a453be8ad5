import { defineConfig } from 'vitest/config'

// The test of examples/next-app: `npm run test:next`.
export default defineConfig({
  test: { include: ['test/next_app.test.ts'], globalSetup: ['test/build_server.ts'], testTimeout: 60_000 },
})
