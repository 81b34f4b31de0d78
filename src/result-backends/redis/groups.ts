/** Groups by id, as Celery's `GroupResult.save` keeps them on Redis. wire: celery-wire 8.4. */
import type { ResultTuple } from "../../../protocol/celery/result-tuple.ts";
import type { Redis } from "../../runtime/redis-connection.ts";
import type { GroupStore } from "../chord-counter.ts";
import { BackendGetMetaError } from "../errors.ts";
import { readGroup } from "../group-values.ts";
import { openValue, sealValue } from "../stored-value.ts";
import { daySeconds, type RedisChordOptions, type RedisChordsHost } from "./chords.ts";

export class RedisGroups implements GroupStore {
  readonly #host: RedisChordsHost;
  readonly #expires: number;

  constructor(host: RedisChordsHost, options: RedisChordOptions = {}) {
    this.#host = host;
    this.#expires = Math.trunc(options.saveExpires ?? daySeconds);
  }

  async save(group: ResultTuple): Promise<void> {
    const { codec, compression } = this.#host;
    const key = codec.key(group[0][0]);
    const value = sealValue(codec.encode({ result: group }).body, compression);
    await this.#do(group[0][0], "save", (client) =>
      // Celery announces it as it announces a result.
      (this.#expires > 0 ? client.multi().setex(key, this.#expires, value) : client.multi().set(key, value))
        .publish(key, value)
        .exec(),
    );
  }

  async restore(groupId: string): Promise<ResultTuple | null> {
    const { codec, compression } = this.#host;
    const value = await this.#do(groupId, "read", (client) => client.getBuffer(codec.key(groupId)));
    return value === null ? null : readGroup(codec.decode(openValue(value, compression)));
  }

  async forget(groupId: string): Promise<void> {
    await this.#do(groupId, "forget", (client) => client.del(this.#host.codec.key(groupId)));
  }

  async #do<T>(groupId: string, verb: string, act: (client: Redis) => Promise<T>): Promise<T> {
    const client = await this.#host.connection();
    try {
      return await act(client);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new BackendGetMetaError(groupId, `cannot ${verb} the group ${groupId}: ${reason}`, { cause });
    }
  }
}
