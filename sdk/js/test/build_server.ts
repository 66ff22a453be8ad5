import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Builds the test server: the real server and its control port. Go builds it again only after a change. */
export default function buildServer(): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-sdk-js-'))
  const program = join(folder, 'testserver')
  execFileSync('go', ['build', '-o', program, './internal/testserver/cmd'], { cwd: join(import.meta.dirname, '../../..'), stdio: 'inherit' })
  process.env['LATCHKEY_TEST_SERVER'] = program
  return () => rmSync(folder, { recursive: true })
}
