import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createFilesystemTransport, type FilesystemOptions } from "./filesystem.ts";
import { testTransport } from "./transport.contract.ts";
import type { Transport } from "./transport.ts";

testTransport({
  name: "filesystem",
  can: { clash: false, knowsMissingQueues: false, order: true, redeliversAfterLoss: true, fanout: true, topic: true },
  async make() {
    const root = mkdtempSync(join(tmpdir(), "lovage-fs-"));
    const options: FilesystemOptions = {
      dataFolderIn: join(root, "data"),
      dataFolderOut: join(root, "data"),
      controlFolder: join(root, "control"),
    };
    const made: Transport[] = [];
    const make = () => {
      const transport = createFilesystemTransport(options);
      made.push(transport);
      return transport;
    };
    return {
      transport: make(),
      another: async () => make(),
      async dispose() {
        for (const transport of made) await transport.close();
        rmSync(root, { recursive: true, force: true });
      },
    };
  },
});
