/** The grid's client in TypeScript. */
import { encodeCompactJson } from "../../protocol/mognet/json-text.ts";
import { RemoteTaskError, TimeoutError } from "../../src/index.ts";
import { Mognet, Request, type ResultTree, Revoked } from "../../src/mognet.ts";
import { silentLog } from "../../src/runtime/log.ts";
import { type GridClient, type Outcome, placed, treeText } from "./client.ts";
import { recorder } from "./fixtures/record.mjs";
import { fullConfig, type Site } from "./fleet.ts";

export async function openTypescriptClient(site: Site): Promise<GridClient> {
  const app = new Mognet(site.name, {
    config: { ...fullConfig(site), node_id: `${site.name}-typescript-client` },
    middleware: [recorder(site.notes, site.name)],
    log: silentLog,
    env: {},
  });
  await app.connect();
  const found = async (id: string) => app.getResult(id);
  return {
    async submit({ task, args = [], kwargs = {}, queue, python: _, ...options }, run) {
      const request = new Request({
        ...options,
        ...(queue === undefined ? {} : { queueName: queue }),
        name: `fixture.${task}`,
        args: placed(args, run) as unknown[],
        kwargs,
      });
      return (await app.submit(request)).id;
    },
    async get(id, timeout): Promise<Outcome> {
      const result = await found(id);
      if (result === null) return { nothing: true };
      try {
        const value: unknown = await result.get({ timeout });
        return { state: result.state, value: JSON.parse(encodeCompactJson(value)) as unknown };
      } catch (error) {
        if (error instanceof TimeoutError) return { nothing: true };
        return { state: result.state, raised: described(error) };
      }
    },
    async read(id) {
      const result = await found(id);
      if (result === null) return null;
      const { record } = result;
      const tree = ({ result: of, children }: ResultTree): unknown => treeText(of.name, of.state, children.map(tree));
      return {
        name: record.name,
        state: record.state,
        number_of_starts: record.numberOfStarts,
        number_of_stops: record.numberOfStops,
        parent_id: record.parentId,
        node_id: record.nodeId,
        request_kwargs_repr: record.requestKwargsRepr,
        done: result.done,
        unexpected_retry_count: result.unexpectedRetryCount,
        children: await result.children.count(),
        metadata: await result.getMetadata(),
        tree: tree(await result.tree({ maxDepth: 12 })),
      };
    },
    async revoke(id, force) {
      await app.revoke(id, { force });
    },
    async setMetadata(id, values) {
      await (await found(id))?.setMetadata(values);
    },
    async status(nodes) {
      const replies = await app.nodeStatus({ nodes, timeout: 20_000 });
      return replies.map(({ nodeId, runningRequestIds }) => [nodeId, runningRequestIds.length] as const).sort();
    },
    async queue(name) {
      const { messageCount, consumerCount } = await app.queueStats(name);
      return { messages: messageCount, consumers: consumerCount };
    },
    purge: () => app.purgeTaskQueues(),
    [Symbol.asyncDispose]: () => app.close(),
  };
}

/** The type as Python names it, and `str(error)`. */
function described(error: unknown): { type: string; message: string } {
  if (!(error instanceof Error)) return { type: typeof error, message: String(error) };
  // Each language says in its own words that a result was revoked.
  if (error instanceof Revoked) return { type: "Revoked", message: "" };
  if (!(error instanceof RemoteTaskError)) return { type: error.name, message: error.message };
  return { type: error.type, message: error.message.slice(error.type.length + 2) };
}
