/** What running tasks remember, on Redis. wire: Mognet 2.0.0 state/redis_state_backend.py. */
import { decodePlainJson } from "../../../protocol/mognet/json.ts";
import { encodeAsciiJson } from "../../../protocol/mognet/json-text.ts";
import type { MognetNames } from "../../../protocol/mognet/names.ts";
import { inOneWrite } from "../../runtime/redis-connection.ts";
import type { MognetStateStore } from "./mognet-store.ts";
import type { MognetRedisLink } from "./redis-link.ts";

export class RedisStates implements MognetStateStore {
  readonly #link: MognetRedisLink;
  readonly #names: MognetNames;
  readonly #ttl: number;

  constructor(link: MognetRedisLink, names: MognetNames, ttl: number) {
    this.#link = link;
    this.#names = names;
    this.#ttl = ttl;
  }

  async get(id: string, key: string): Promise<unknown> {
    const name = this.#names.stateKey(id);
    const text = await this.#link.read(id, async (client) => {
      inOneWrite(client);
      const [found] = await Promise.all([client.hget(name, key), client.expire(name, this.#ttl)]);
      return found;
    });
    return text === null ? undefined : decodePlainJson(text);
  }

  async set(id: string, key: string, value: unknown): Promise<void> {
    const name = this.#names.stateKey(id);
    const text = encodeAsciiJson(value);
    await this.#link.write(() => ({
      id,
      key: name,
      commands: () => [
        ["HSET", name, key, text],
        ["EXPIRE", name, this.#ttl],
      ],
    }));
  }

  /** Read, then removed: a value whose removal is repeated after a lost answer is not lost with it. One run at a time uses a state. */
  async pop(id: string, key: string): Promise<unknown> {
    const value = await this.get(id, key);
    if (value === undefined) return undefined;
    const name = this.#names.stateKey(id);
    await this.#link.write(() => ({ id, key: name, commands: () => [["HDEL", name, key]] }));
    return value;
  }

  async clear(id: string): Promise<void> {
    const name = this.#names.stateKey(id);
    await this.#link.write(() => ({ id, key: name, commands: () => [["DEL", name]] }));
  }
}
