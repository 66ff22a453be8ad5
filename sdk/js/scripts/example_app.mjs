// Builds examples/app/latchkey.js, which is in Git so that the example starts without Node. With --check it only
// reports whether the file is up to date.
import { readFile, writeFile } from 'node:fs/promises'
import { build } from 'vite'

const file = new URL('../../../examples/app/latchkey.js', import.meta.url)
const head = '// Built from sdk/js/src/bff.ts by `make example-app`: do not edit. An app imports @latchkey/sdk/bff instead.\n'

const { output } = await build({
  configFile: false,
  logLevel: 'error',
  build: {
    write: false,
    minify: false,
    target: 'es2022',
    modulePreload: false,
    rolldownOptions: { input: new URL('../src/bff.ts', import.meta.url).pathname, preserveEntrySignatures: 'strict' },
  },
})
const built = head + output[0].code.replace(/^\/\/#(end)?region.*\n/gm, '')
if (!process.argv.includes('--check')) {
  await writeFile(file, built)
} else if (built !== (await readFile(file, 'utf8'))) {
  console.error('examples/app/latchkey.js is out of date: run make example-app, and commit the file')
  process.exitCode = 1
}
