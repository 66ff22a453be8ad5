import { defineConfig } from 'tsdown'

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    bff: 'src/bff.ts',
    react: 'src/react/index.ts',
    testing: 'src/testing/index.ts',
    server: 'src/server/index.ts',
    express: 'src/express.ts',
    fastify: 'src/fastify.ts',
    hono: 'src/hono.ts',
    next: 'src/next/index.ts',
  },
  platform: 'neutral',
  target: 'es2022',
  dts: true,
  sourcemap: true,
  clean: true,
})
