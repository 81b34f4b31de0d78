/** Commands about events, clock and elections. wire: celery/worker/control.py; behaviour 3.3, 4.9. */
import { command } from "../command.ts";
import { CommandError } from "../errors.ts";
import { ok } from "../state.ts";

export const clock = command(
  { name: "clock", kind: "inspect", help: "Get current logical clock value.", parameters: "**kwargs" },
  (state) => ({ clock: state.clock.value }),
);

export const enableEvents = command(
  { name: "enable_events", kind: "control", help: "Tell worker(s) to send task-related events.", parameters: "" },
  ({ events, log }) => {
    if (!events.enableTaskEvents()) return ok("task events already enabled");
    log.info({}, "task events enabled by remote");
    return ok("task events enabled");
  },
);

export const disableEvents = command(
  {
    name: "disable_events",
    kind: "control",
    help: "Tell worker(s) to stop sending task-related events.",
    parameters: "",
  },
  ({ events, log }) => {
    if (!events.disableTaskEvents()) return ok("task events already disabled");
    log.info({}, "task events disabled by remote");
    return ok("task events disabled");
  },
);

export const heartbeat = command(
  {
    name: "heartbeat",
    kind: "control",
    help: "Tell worker(s) to send event heartbeat immediately.",
    parameters: "",
  },
  ({ events }) => {
    events.heartbeat();
    return null;
  },
);

export const election = command(
  { name: "election", kind: "control", help: "Hold election.", parameters: "id, topic, action=None, **kwargs" },
  ({ gossip }, { id, topic, action }) => {
    if (typeof id !== "string" || typeof topic !== "string") {
      throw new CommandError("TypeError", ["the id and the topic of an election are texts"]);
    }
    gossip?.election(id, topic, action ?? null);
    return null;
  },
);
