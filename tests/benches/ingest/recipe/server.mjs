// What a competent engineer makes of the usual recipe in an afternoon: check the signature over the raw body, one awaited
// send with acks=all, 200.
import { createHmac, timingSafeEqual } from 'node:crypto'
import { ProduceAcks, Producer, stringSerializers } from '@platformatic/kafka'
import express from 'express'

const { BROKERS, PORT, SIGNING_KEY, TOPIC } = process.env

const producer = new Producer({
  clientId: 'recipe',
  bootstrapBrokers: BROKERS.split(','),
  serializers: { ...stringSerializers, value: bytes => bytes },
  acks: ProduceAcks.ALL
})
await producer.metadata({ topics: [TOPIC] })

function isSigned(request) {
  const signature = Buffer.from(request.get('x-cio-signature') ?? '', 'hex')
  const expected = createHmac('sha256', SIGNING_KEY)
    .update(`v0:${request.get('x-cio-timestamp')}:`)
    .update(request.body)
    .digest()
  return signature.length === expected.length && timingSafeEqual(signature, expected)
}

async function receive(request, response) {
  if (!isSigned(request)) {
    return response.status(401).json({ error: 'invalid signature' })
  }
  const event = JSON.parse(request.body)
  const key = event.data?.customer_id ?? event.event_id
  await producer.send({ messages: [{ topic: TOPIC, key, value: request.body }], acks: ProduceAcks.ALL })
  response.sendStatus(200)
}

express()
  .disable('x-powered-by')
  .disable('etag')
  .post('/v1/webhooks/customerio/reporting', express.raw({ type: 'application/json', limit: '1mb' }), receive)
  .listen(Number(PORT), '127.0.0.1')
