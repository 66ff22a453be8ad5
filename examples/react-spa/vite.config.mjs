// The demo issuer of `latchkey dev` issues client tokens to programs and to its own pages
// only, so Vite forwards that request. /api/ is the API of examples/express-api.
const latchkey = process.env.VITE_ISSUER ?? 'http://localhost:8080'

export default {
  server: {
    port: 5173,
    strictPort: true,
    proxy: {
      '/dev/client-token': { target: latchkey, changeOrigin: true, headers: { origin: latchkey } },
      '/api': process.env.API ?? 'http://localhost:3000',
    },
  },
}
