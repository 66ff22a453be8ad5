import { createRoot } from 'react-dom/client'
import { StrictMode } from 'react'
import { LatchkeyProvider } from '@latchkey/sdk/react'
import { App } from './app.jsx'
import { latchkey } from './latchkey.js'

createRoot(document.getElementById('root')).render(
  <StrictMode>
    <LatchkeyProvider client={latchkey}>
      <App />
    </LatchkeyProvider>
  </StrictMode>,
)
