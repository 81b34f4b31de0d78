/** The dependency rule of docs/architecture.md, read from the import lines themselves. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, test } from "vitest";

const root = resolve(import.meta.dirname, "..");

/** Steps from left to right: a room imports only rooms of later steps, and itself. */
const STEPS = [
  ["cli", "testing"],
  ["app"],
  ["beat"],
  ["client", "worker"],
  ["canvas", "events", "control"],
  ["tasks"],
  ["result-backends"],
  ["transports"],
  ["settings"],
  ["runtime"],
  ["protocol"],
];
/** The files that only name what is public. */
const ENTRIES = new Set(["src/index.ts", "src/mognet.ts", "src/worker-entry.ts"]);
/** Right of `app` only contracts and errors of these two rooms are imported. */
const CONTRACTS: Record<string, RegExp> = {
  transports: /^src\/transports\/(transport|errors)\.ts$/,
  "result-backends": /^src\/result-backends\/(result-backend|chord-counter|errors|mognet\/mognet-store)\.ts$/,
};

interface Import {
  from: string;
  to: string;
}

function files(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !/\.(test|test-d|contract)\.ts$/.test(name) && !name.endsWith(".d.ts"))
    .map((name) => join(folder, name));
}

function imports(file: string): Import[] {
  const text = readFileSync(join(root, file), "utf8");
  const found = text.matchAll(
    /(?:^|\s)(?:import|export)\b[^;"']*?from\s*["']([^"']+)["']|import\(\s*["']([^"']+)["']\s*\)|^import\s+["']([^"']+)["']/gm,
  );
  return [...found].map((match) => {
    const specifier = match[1] ?? match[2] ?? match[3] ?? "";
    return {
      from: file,
      to: specifier.startsWith(".") ? relative(root, resolve(root, dirname(file), specifier)) : specifier,
    };
  });
}

function room(file: string): string {
  if (file.startsWith("protocol/")) return "protocol";
  const [, first = ""] = file.split("/");
  return first.replace(/\.ts$/, "");
}

function step(name: string): number {
  return STEPS.findIndex((rooms) => rooms.includes(name));
}

const all = [...files("src"), ...files("protocol")].filter((file) => !ENTRIES.has(file));
const ours = all.flatMap(imports).filter((one) => one.to.startsWith("src/") || one.to.startsWith("protocol/"));

describe("the dependency rule", () => {
  test("knows every room", () => {
    expect([...new Set(all.map(room))].filter((name) => step(name) < 0)).toEqual([]);
  });

  test("arrows point one way", () => {
    const wrong = ours.filter(({ from, to }) => room(from) !== room(to) && step(room(from)) >= step(room(to)));
    expect(wrong).toEqual([]);
  });

  test("only app and what stands left of it names a concrete transport or backend", () => {
    const wrong = ours.filter(({ from, to }) => {
      const contract = CONTRACTS[room(to)];
      return contract !== undefined && room(from) !== room(to) && step(room(from)) > step("app") && !contract.test(to);
    });
    expect(wrong).toEqual([]);
  });

  test("protocol imports nothing but itself", () => {
    expect(
      all
        .filter((file) => file.startsWith("protocol/"))
        .flatMap(imports)
        .filter(({ to }) => !to.startsWith("protocol/")),
    ).toEqual([]);
  });

  test("the two protocols do not know each other", () => {
    const wrong = ours.filter(
      ({ from, to }) =>
        /^protocol\/(celery|mognet)\//.test(from) &&
        /^protocol\/(celery|mognet)\//.test(to) &&
        from.split("/")[1] !== to.split("/")[1],
    );
    expect(wrong).toEqual([]);
  });

  test("nothing optional is imported at the start", () => {
    const allowed = new Set(["amqplib", "amqplib/callback_api", "ioredis", "pino", "zod"]);
    const bare = all
      .flatMap(imports)
      .map((one) => one.to)
      .filter((to) => !to.startsWith("node:") && !to.startsWith("src/") && !to.startsWith("protocol/"));
    expect(bare.filter((to) => !allowed.has(to))).toEqual([]);
  });

  test("the drivers of brokers are imported when a connection is made, not at the start", () => {
    const atStart = /^import\s(?!type\b)[^;"']*?["'](?:ioredis|amqplib)[^"']*["']/m;
    expect(all.filter((file) => atStart.test(readFileSync(join(root, file), "utf8")))).toEqual([]);
  });
});
