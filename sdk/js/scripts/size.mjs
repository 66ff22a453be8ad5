// Reports the size of each entry as an app ships it, minified and gzipped, and fails if one is over its limit.
import { gzipSync } from 'node:zlib'
import { build } from 'vite'

const limits = { index: 7680, bff: 5120 }

let failed = false
for (const [entry, limit] of Object.entries(limits)) {
  const { output } = await build({
    configFile: false,
    logLevel: 'error',
    build: {
      write: false,
      minify: true,
      target: 'es2022',
      modulePreload: false,
      rolldownOptions: {
        input: new URL(`../dist/${entry}.js`, import.meta.url).pathname,
        preserveEntrySignatures: 'strict',
        external: [/^react/, /^next/],
      },
    },
  })
  const size = output.reduce((sum, { code = '' }) => sum + gzipSync(code, { level: 9 }).length, 0)
  console.log(`${entry}: ${size} bytes gzipped, at most ${limit}`)
  failed ||= size > limit
}
process.exitCode = failed ? 1 : 0
