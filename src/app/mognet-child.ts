/** What a child of a pool runs of a Mognet app. */
import { newMognetResult } from "../../protocol/mognet/result.ts";
import { Result } from "../client/mognet/result.ts";
import { InMognetChild, type LoadedMognet } from "../worker/mognet/pool/in-child.ts";
import { Services } from "../worker/mognet/services.ts";
import type { WorkerLine } from "../worker/pools/inner-life.ts";
import type { MognetInit } from "../worker/pools/messages.ts";
import { loadMognetApp } from "./load-app.ts";
import { requestsOf } from "./mognet-requests.ts";
import type { Inside } from "./pool-child.ts";

export async function enterMognet(line: WorkerLine, init: MognetInit): Promise<Inside> {
  const loaded = await loadMognet(init.module);
  return { life: new InMognetChild(line, init, loaded), close: () => loaded.close() };
}

async function loadMognet(module: string): Promise<LoadedMognet> {
  const app = await loadMognetApp(module);
  const services = new Services({ ...app.config }, app.services);
  return {
    app,
    tasks: app.tasks,
    services,
    createRequest: requestsOf(app),
    result: (record, returns, { store, revoke }) =>
      new Result(
        newMognetResult(record),
        app.resultsOf(store, (id, { force = false }) => revoke(id, force)),
        returns,
      ),
    async close() {
      await services.close(app.log);
      await app.close();
    },
  };
}
