/**
 * Reads docker-compose.yml as far as its shape goes (nested keys by indentation), since neither Docker nor a YAML reader is at
 * hand everywhere; `docker compose config` judges it too where it is.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../", import.meta.url));
const text = readFileSync(join(root, "docker-compose.yml"), "utf8");

/** The lines below `key:` at that depth, dedented. */
function section(body: string, key: string): string {
  const found = new RegExp(`^${key}:.*\\n((?: {2}.*\\n|\\n)*)`, "m").exec(`${body}\n`);
  return (found?.[1] ?? "").replace(/^ {2}/gm, "");
}

const services = section(text, "services");
const names = [...services.matchAll(/^([\w-]+):$/gm)].map(([, name]) => name as string);

test("has the servers, a Celery worker, a Mognet worker and Flower, each with a health check", () => {
  expect(names).toEqual(["rabbitmq", "redis", "celery-worker", "mognet-worker", "flower"]);
  for (const name of names) expect(section(section(services, name), "healthcheck"), name).toMatch(/^test:/m);
});

test("pins every image, also those that the Dockerfiles build on", () => {
  const images = [...text.matchAll(/^\s+image: (.*)$/gm)].map(([, image]) => image);
  const files = [...new Set([...text.matchAll(/dockerfile: (.*)$/gm)].map(([, file]) => file as string))];
  const bases = files.flatMap((file) =>
    [...readFileSync(join(root, file), "utf8").matchAll(/^FROM (.*)$/gm)].map(([, image]) => image),
  );
  expect(bases).toHaveLength(files.length);
  for (const image of [...images, ...bases]) expect(image).toMatch(/^[\w./-]+:\d+\.\d+\.\d+/);
});

test("installs pinned requirements that exist", () => {
  for (const [, name] of text.matchAll(/REQUIREMENTS: (.*)$/gm)) {
    const file = join(root, "python-fixtures", `requirements-${name}.txt`);
    expect(existsSync(file), file).toBe(true);
    for (const line of readFileSync(file, "utf8").split("\n")) expect(line).toMatch(/^(#.*|[\w.-]+==\S+|)$/);
  }
});

test("publishes the ports of the documentation's addresses, on this machine only", () => {
  expect([...text.matchAll(/^\s+- "(\S+)"$/gm)].map(([, port]) => port)).toEqual([
    "127.0.0.1:5672:5672",
    "127.0.0.1:15672:15672",
    "127.0.0.1:6379:6379",
    "127.0.0.1:5555:5555",
  ]);
});

const hasCompose = spawnSync("docker", ["compose", "version"]).status === 0;

test.skipIf(!hasCompose)("is what docker compose accepts", () => {
  const config = spawnSync("docker", ["compose", "-f", join(root, "docker-compose.yml"), "config", "--quiet"]);
  expect(String(config.stderr)).toBe("");
  expect(config.status).toBe(0);
});
