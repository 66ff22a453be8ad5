import { handlers } from '../../../latchkey'

export const { GET, POST, DELETE } = handlers
