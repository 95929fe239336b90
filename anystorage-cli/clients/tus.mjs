// Uploads a file with tus-js-client, as the JSON in the first argument says, and prints the result
// as JSON. The tests in tus.py run it.

import { createReadStream } from 'node:fs'
import { PassThrough } from 'node:stream'
import { Upload } from 'tus-js-client'

const wanted = JSON.parse(process.argv[2])

// Retries for about 20 s, because the server is restarted meanwhile.
const retryDelays = [100, 200, 400, 800, 1600, 3200, 5000, 8000]

function upload({
  endpoint, uploadUrl, protocol, file, name, chunkSize, parallel, deferred, stopAfter,
}) {
  return new Promise((resolve, reject) => {
    let requests = 0
    let retries = 0
    const options = {
      endpoint,
      uploadUrl,
      protocol: protocol ?? 'tus-v1',
      retryDelays,
      chunkSize: chunkSize ?? Number.POSITIVE_INFINITY,
      metadata: { filename: name, filetype: 'application/octet-stream' },
      parallelUploads: parallel ?? 1,
      uploadLengthDeferred: deferred ?? false,
      onBeforeRequest: () => {
        requests += 1
      },
      onShouldRetry: (error) => {
        retries += 1
        const status = error.originalResponse?.getStatus() ?? 0
        return status < 400 || status === 409 || status === 423 || status >= 500
      },
      onError: reject,
      onSuccess: () => resolve({ url: upload.url, requests, retries }),
      onChunkComplete: async (_, accepted) => {
        if (stopAfter !== undefined && accepted >= stopAfter) {
          // With `true`, the client also terminates the upload.
          await upload.abort(true)
          resolve({ url: upload.url, requests, retries, accepted })
        }
      },
    }
    // The client finds the size of a stream of a file, unless it goes through another stream.
    const source = createReadStream(file)
    const upload = new Upload(deferred ? source.pipe(new PassThrough()) : source, options)
    upload.start()
  })
}

const results = await Promise.all(wanted.map(upload))
console.log(JSON.stringify(results))
