import type { RoutedEvent } from '../routing/routing.ts'
import type { ReplayRequest } from './replay-record.ts'

/** Where a replay is sent in place of where events go; what is absent stays as routed. */
export interface Destination {
  readonly exchange?: string | undefined
  readonly routingKey?: string | undefined
}

/** Where a replay was asked to go. One queue alone: RabbitMQ's default exchange routes by the queue's name. */
export function destinationOf({ exchange, routingKey, queue }: ReplayRequest): Destination {
  return queue === undefined ? { exchange, routingKey } : { exchange: '', routingKey: queue }
}

/** The event with its message sent elsewhere. Body, properties and headers stay. */
export function redirect(event: RoutedEvent, { exchange, routingKey }: Destination): RoutedEvent {
  if (exchange === undefined && routingKey === undefined) return event
  if (event.message === undefined) return event
  const { message } = event
  return {
    ...event,
    message: { ...message, exchange: exchange ?? message.exchange, routingKey: routingKey ?? message.routingKey },
  }
}
