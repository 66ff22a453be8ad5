// Compares the public API of each entry with its report in api/, and requires a comment on every export.
// With --update it writes the reports.
import { Extractor, ExtractorConfig, ExtractorLogLevel } from '@microsoft/api-extractor'
import { mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const update = process.argv.includes('--update')
const entries = Object.keys((await import('../tsdown.config.ts')).default.entry)
const none = { logLevel: ExtractorLogLevel.None }
const error = { logLevel: ExtractorLogLevel.Error }

mkdirSync(`${root}api`, { recursive: true })
let failed = false
for (const entry of entries) {
  const config = ExtractorConfig.prepare({
    configObject: {
      projectFolder: root,
      mainEntryPointFilePath: `${root}dist/${entry}.d.ts`,
      compiler: { tsconfigFilePath: `${root}tsconfig.json`, skipLibCheck: true },
      apiReport: { enabled: true, reportFileName: `${entry}.api.md`, reportFolder: `${root}api`, reportTempFolder: `${root}dist/api` },
      docModel: { enabled: false },
      dtsRollup: { enabled: false },
      messages: {
        compilerMessageReporting: { default: error },
        extractorMessageReporting: {
          default: error,
          'ae-missing-release-tag': none, // everything that is exported is public
          'ae-forgotten-export': none,
          'ae-unresolved-link': none,
        },
        tsdocMessageReporting: { default: error },
      },
    },
    configObjectFullPath: `${root}scripts/api.mjs`,
    packageJsonFullPath: `${root}package.json`,
  })
  const result = Extractor.invoke(config, {
    localBuild: update,
    printApiReportDiff: true,
    messageCallback(message) {
      // Members may go without a comment if their name says it all; the report marks them.
      const isMember = message.sourceFileColumn > 1
      if (message.messageId === 'console-preamble' || (message.messageId === 'ae-undocumented' && isMember)) message.logLevel = 'none'
    },
  })
  failed ||= !result.succeeded
}
process.exitCode = failed ? 1 : 0
