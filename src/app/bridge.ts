/**
 * For fleets that move from one protocol to the other: a task that a Mognet app serves by having Celery carry it out, and the
 * reverse. The definition that a bridge makes is registered with an app and served by a worker like any other; it hands on arguments
 * as they came, waits, and brings back the value or the error.
 */
export { type ViaCeleryOptions, viaCelery } from "./bridge-to-celery.ts";
export { type ViaMognetOptions, viaMognet } from "./bridge-to-mognet.ts";
