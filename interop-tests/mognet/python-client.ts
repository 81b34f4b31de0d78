/** The grid's client in Python: real Mognet, driven line by line. */
import { fixturesFolder } from "../../src/testing/fixture-files.ts";
import { type PythonMognetTree, startPythonMognetClient } from "../../src/testing/index.ts";
import { type GridClient, placed, treeText } from "./client.ts";
import { type Site, service } from "./fleet.ts";

/** Arguments that JSON cannot write stand in a case as Python text. */
const submitting = `
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from mognet_app.models import Color, Item
request["args"] = eval(python)
answer = str((await app.submit(Request(**request))).id)
`;

export async function openPythonClient(site: Site): Promise<GridClient> {
  const client = await startPythonMognetClient({
    python: service("LOVAGE_TEST_PYTHON_MOGNET"),
    cwd: fixturesFolder(),
    broker: site.broker,
    redis: site.redisUrl,
    name: site.name,
    node: `${site.name}-python-client`,
    config: site.config,
    env: { FIXTURE_RECORD: site.notesUrl },
  });
  const tree = ({ result, children }: PythonMognetTree): unknown =>
    treeText(result.name, result.state, children.map(tree));
  return {
    async submit(shape, run) {
      const { task, args = [], kwargs = {}, python, queue, kwargsRepr, ...rest } = shape;
      const name = `fixture.${task}`;
      const request = {
        ...rest,
        ...(queue === undefined ? {} : { queue_name: queue }),
        ...(kwargsRepr === undefined ? {} : { kwargs_repr: kwargsRepr }),
      };
      if (python === undefined) return client.submit(name, placed(args, run) as unknown[], kwargs, request);
      return String(await client.run(submitting, { request: { ...request, name, kwargs }, python }));
    },
    async get(id, timeout) {
      const got = await client.get(id, { timeout });
      if (got.raised === undefined) return { state: got.state, value: got.value };
      if (got.late) return { nothing: true };
      const { type, message } = got.raised;
      return { state: got.state, raised: { type, message: type === "Revoked" ? "" : message } };
    },
    async read(id) {
      const seen = await client.result(id);
      if (seen === null) return null;
      const { id: _, created, started, finished, children, ...fields } = seen;
      return { ...fields, children: children.length, tree: tree(await client.tree(id, { maxDepth: 12 })) };
    },
    async revoke(id, force) {
      await client.revoke(id, { force });
    },
    setMetadata: (id, values) => client.setMetadata(id, values),
    async status(nodes) {
      const replies = await client.status({ nodes, timeout: 20_000 });
      return replies.map(({ node_id, payload }) => [node_id, payload.running_request_ids.length] as const).sort();
    },
    queue: (name) => client.queue(name),
    purge: () => client.purge(),
    [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
  };
}
