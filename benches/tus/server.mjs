// @tus/server with its file store or its S3 store, for bench.py: node server.mjs STORE DIRECTORY
// Prints the port that it listens on.

import { FileStore } from '@tus/file-store'
import { S3Store } from '@tus/s3-store'
import { Server } from '@tus/server'

const [store, directory] = process.argv.slice(2)

function datastore() {
  if (store === 'file') return new FileStore({ directory })
  return new S3Store({
    s3ClientConfig: {
      bucket: process.env.STORAGE_S3_TEST_BUCKET,
      endpoint: process.env.STORAGE_S3_TEST_ENDPOINT,
      region: process.env.AWS_REGION,
      forcePathStyle: true,
      // RadosGW does not know the checksums that the SDK sends otherwise.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      credentials: {
        accessKeyId: process.env.AWS_ACCESS_KEY_ID,
        secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY,
      },
    },
    // Tags of objects are a request more, and RadosGW is not what they are for.
    useTags: false,
  })
}

const server = new Server({ path: '/uploads', datastore: datastore() })
const listening = server.listen({ host: '127.0.0.1', port: 0 }, () => {
  console.log(listening.address().port)
})
