/** When a task runs: eta and countdown, and when it is no longer worth running. */
import type { CallCase } from "../case.ts";

/** The instant as ISO text. `headers` and not `eta`, where the publisher's own reading of it is not the question. */
const inSeconds = (seconds: number) => new Date(Date.now() + seconds * 1000).toISOString();

const ran = { had_eta: true, in_time: true };

/** Made when the cell starts, since they hold instants. */
export function timeCases(): readonly CallCase[] {
  return [
    {
      kind: "call",
      name: "times/a countdown is kept",
      task: "interop.when",
      options: { countdown: 0.7 },
      expect: { fields: ran },
    },
    {
      kind: "call",
      name: "times/an eta in UTC is kept",
      task: "interop.when",
      options: { headers: { eta: inSeconds(1.5).replace("Z", "+00:00") } },
      expect: { fields: ran },
    },
    {
      kind: "call",
      name: "times/an eta that ends in Z is kept",
      task: "interop.when",
      options: { headers: { eta: inSeconds(1.5) } },
      expect: { fields: ran },
    },
    {
      kind: "call",
      name: "times/an eta without an offset is UTC",
      task: "interop.when",
      options: { headers: { eta: inSeconds(1.5).replace("Z", "") } },
      expect: { fields: ran },
    },
    {
      kind: "call",
      name: "times/an eta with another offset is the same instant",
      task: "interop.when",
      options: { headers: { eta: inSeconds(1.5 + 2 * 3600).replace("Z", "+02:00") } },
      expect: { fields: ran },
    },
    {
      kind: "call",
      name: "times/an eta in the past runs at once",
      task: "interop.when",
      options: { headers: { eta: "2020-01-02T03:04:05+00:00" } },
      expect: { fields: ran },
    },
    {
      kind: "call",
      name: "times/no eta",
      task: "interop.when",
      expect: { fields: { had_eta: false, in_time: true } },
    },
    {
      kind: "call",
      name: "times/an expired task is revoked",
      task: "fixture.add",
      args: "[1, 1]",
      // As a header: with the option RabbitMQ would drop the message before a worker sees it.
      options: { headers: { expires: "2020-01-02T03:04:05+00:00" } },
      expect: {
        raises: { type: "TaskRevokedError", module: "celery.exceptions", args: ["expired"], state: "REVOKED" },
      },
    },
    {
      kind: "call",
      name: "times/a task that expires while it waits for its eta is revoked",
      task: "fixture.add",
      args: "[1, 1]",
      options: { countdown: 1.2, headers: { expires: inSeconds(0.3) } },
      expect: {
        raises: { type: "TaskRevokedError", module: "celery.exceptions", args: ["expired"], state: "REVOKED" },
      },
    },
    {
      kind: "call",
      name: "times/a task that expires later runs",
      task: "fixture.add",
      args: "[1, 1]",
      options: { expires: 300 },
      expect: { value: "2" },
    },
  ];
}
