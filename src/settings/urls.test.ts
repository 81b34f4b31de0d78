import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { parseSettings, type SettingsInput } from "./settings.ts";
import { embeddedFolders, makeEmbeddedFolders, pickBackend, pickBroker } from "./urls.ts";

const settings = (code: SettingsInput) => parseSettings({ code, env: {} }).settings;

describe("the broker", () => {
  test.each([
    ["amqp://h", "amqp"],
    ["amqps://h", "amqp"],
    ["redis://h", "redis"],
    ["REDISS://h", "redis"],
    ["redis+socket:///tmp/r.sock", "redis"],
    ["sentinel://h:26379", "redis"],
    ["filesystem://", "filesystem"],
    ["memory://", "memory"],
  ])("%s is %s", (url, kind) => {
    expect(pickBroker(settings({ broker_url: url }))).toMatchObject({ kind, urls: [url], embedded: false });
  });

  test("pyamqp:// is Kombu's other word for amqp://", () => {
    expect(pickBroker(settings({ broker_url: "pyamqp://h" })).urls).toEqual(["amqp://h"]);
  });

  test("several URLs of one kind fail over, of two kinds are refused", () => {
    expect(pickBroker(settings({ broker_url: ["amqp://a", "amqps://b;amqp://c"] })).urls).toHaveLength(3);
    expect(() => pickBroker(settings({ broker_url: "amqp://a;redis://b" }))).toThrow(/one kind, not amqp and redis/);
  });

  test("reading and writing may have URLs of their own", () => {
    const both = settings({ broker_url: "amqp://x", broker_read_url: "redis://r", broker_write_url: "memory://" });
    expect(pickBroker(both, { purpose: "read" }).kind).toBe("redis");
    expect(pickBroker(both).kind).toBe("memory");
  });

  test("what Celery has and Lovage has not is said so, what nobody has gets a suggestion, and no password is shown", () => {
    expect(() => pickBroker(settings({ broker_url: "sqs://u:pw@h" }))).toThrow(
      /sqs:\/\/ is not available in Lovage; supported: amqp/,
    );
    expect(() => pickBroker(settings({ broker_url: "sqla+postgresql://u:pw@h" }))).toThrow(/not available/);
    expect(() => pickBroker(settings({ broker_url: "ampq://u:pw@h" }))).toThrow(
      /unknown broker ampq:\/\/; did you mean "amqp"\?/,
    );
    expect(() => pickBroker(settings({ broker_url: "ampq://u:pw@h" }))).not.toThrow(/pw/);
  });

  test("without a URL it is files under .lovage, which production refuses", () => {
    const picked = pickBroker(settings({}), { cwd: "/work/place", env: {} });
    expect(picked).toMatchObject({ kind: "filesystem", embedded: true });
    expect(picked.transportOptions).toEqual({
      data_folder_in: join("/work/place", ".lovage", "broker"),
      data_folder_out: join("/work/place", ".lovage", "broker"),
      control_folder: join("/work/place", ".lovage", "control"),
    });
    expect(picked.notice).toContain(".lovage");
    expect(() => pickBroker(settings({}), { env: { NODE_ENV: "production" } })).toThrow(/production/);
    expect(() => pickBroker(settings({ broker_url: "amqp://h" }), { env: { NODE_ENV: "production" } })).not.toThrow();
  });
});

describe("the result backend", () => {
  test.each([
    ["redis://h", "redis"],
    ["rpc://", "rpc"],
    ["rpc", "rpc"],
    ["file:///tmp/x", "file"],
    ["memory://", "memory"],
    ["cache+memory://", "memory"],
    ["sentinel://a;sentinel://b", "redis"],
    ["disabled://", "disabled"],
  ])("%s is %s", (url, kind) => {
    expect(pickBackend(settings({ broker_url: "memory://", result_backend: url })).kind).toBe(kind);
  });

  test("is disabled beside a real broker, and files beside the embedded one", () => {
    expect(pickBackend(settings({ broker_url: "amqp://h" }))).toEqual({ kind: "disabled", urls: [], embedded: false });
    const embedded = pickBackend(settings({}), { cwd: "/work/a place" });
    expect(embedded.kind).toBe("file");
    expect(fileURLToPath(embedded.urls[0]!)).toBe(join("/work/a place", ".lovage", "results"));
  });

  test.each(["db+sqlite:///x", "mongodb://h", "cache+memcached://h", "django-db"])("%s is not available", (url) => {
    expect(() => pickBackend(settings({ result_backend: url }))).toThrow(/not available in Lovage/);
  });
});

test("the embedded default leaves settings for Python beside its folders", () => {
  const root = mkdtempSync(join(tmpdir(), "lovage-urls-"));
  try {
    const folders = embeddedFolders(root);
    makeEmbeddedFolders(folders);
    makeEmbeddedFolders(folders);
    expect(readdirSync(folders.root).sort()).toEqual(["broker", "celeryconfig.json", "control", "results"]);
    const written: unknown = JSON.parse(readFileSync(folders.pythonSettings, "utf8"));
    expect(written).toEqual({
      broker_url: "filesystem://",
      broker_transport_options: {
        data_folder_in: folders.broker,
        data_folder_out: folders.broker,
        control_folder: folders.control,
        polling_interval: 0.02,
      },
      result_backend: `file://${folders.results}`,
    });
    // TypeScript can read the same file: it means the same folders.
    expect(pickBroker(parseSettings({ file: folders.pythonSettings, env: {} }).settings).kind).toBe("filesystem");
  } finally {
    rmSync(root, { recursive: true });
  }
});
