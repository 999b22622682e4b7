// A PostgreSQL for tests on the loopback, with pgvector unless told "plain", in memory or in the folder named; says its port, and ends when its input does.
import { PGlite } from '@electric-sql/pglite'
import { vector } from '@electric-sql/pglite-pgvector'
import { PGLiteSocketServer } from '@electric-sql/pglite-socket'

const [kind, folder] = process.argv.slice(2)
const db = await PGlite.create(folder, { extensions: kind === 'plain' ? {} : { vector } })
// One session serves all connections: whoever connects uses one at a time, and a new one may come before the end of the last is noticed.
const server = new PGLiteSocketServer({ db, port: 0, maxConnections: 8 })
server.addEventListener('listening', event => console.log(`listening ${event.detail.port}`))
await server.start()
process.stdin.on('end', () => process.exit(0)).resume()
