import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openStage, type Stage } from './browser.js'
import { ofAUser, ofTheServer, type Half, type Outcome } from './comparison.js'

/** What to run. `npm run compare` runs both halves, and prints a table; what the lines by hand do is only recorded. */
const halves = (process.env['LATCHKEY_SDK_COMPARE'] ?? 'sdk').split(',') as Half[]
const table: Record<string, Partial<Record<Half, Outcome>>> = {}

let stage: Stage
beforeAll(async () => {
  stage = await openStage()
})
afterAll(async () => {
  await stage.stop()
  const cell = (outcome: Outcome | undefined) => (outcome ? `${outcome.survived ? 'yes' : 'no'}: ${outcome.figures}` : '')
  if (halves.length > 1) for (const [name, row] of Object.entries(table)) console.log(`| ${[name, ...halves.map((half) => cell(row[half]))].join(' | ')} |`)
})

async function measure(half: Half, name: string, run: (stage: Stage, half: Half) => Promise<Outcome>): Promise<void> {
  const outcome = ((table[name] ??= {})[half] = await run(stage, half))
  if (half === 'sdk') expect(outcome).toMatchObject({ survived: true })
}

describe.each(halves)('two tabs of the %s go on although', { timeout: 180_000 }, (half) => {
  test.each(Object.entries(ofTheServer))('%s', (name, run) => measure(half, name, run))
  test.concurrent.each(Object.entries(ofAUser))('%s', (name, run) => measure(half, name, run))
})
