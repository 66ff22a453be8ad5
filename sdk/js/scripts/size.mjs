// Reports the size of each entry as an app ships it, minified and gzipped, and fails if one is over its limit.
import { gzipSync } from 'node:zlib'
import { build } from 'vite'

/** What an app imports, from which entry, and the limit in bytes. */
const imports = [
  ['{ createClient }', 'index', 7424],
  ['*', 'index', 7680],
  ['*', 'bff', 4864],
]

/** An app that exports what it imports, so that nothing of it is dropped. */
function app(names, entry) {
  return {
    name: 'app',
    resolveId: (id) => (id === 'app' ? '\0app' : undefined),
    load: (id) => (id === '\0app' ? `export ${names} from ${JSON.stringify(new URL(`../dist/${entry}.js`, import.meta.url).pathname)}` : undefined),
  }
}

let failed = false
for (const [names, entry, limit] of imports) {
  const { output } = await build({
    configFile: false,
    logLevel: 'error',
    plugins: [app(names, entry)],
    build: {
      write: false,
      minify: true,
      target: 'es2022',
      modulePreload: false,
      rolldownOptions: { input: 'app', preserveEntrySignatures: 'strict', external: [/^react/, /^next/] },
    },
  })
  const size = output.reduce((sum, { code = '' }) => sum + gzipSync(code, { level: 9 }).length, 0)
  console.log(`${names} of ${entry}: ${size} bytes gzipped, at most ${limit}`)
  failed ||= size > limit
}
process.exitCode = failed ? 1 : 0
