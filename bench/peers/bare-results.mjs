/**
 * Result documents as Celery stores them: MULTI SETEX PUBLISH EXEC each, those of one tick in one write. Batched: one MULTI for
 * all of them.
 */
export class ResultWriter {
  #redis;
  #batched;
  #commands = [];

  constructor(redis, batched) {
    this.#redis = redis;
    this.#batched = batched;
  }

  store(id, result) {
    const key = `celery-task-meta-${id}`;
    const text = JSON.stringify({
      status: "SUCCESS",
      result,
      traceback: null,
      children: [],
      date_done: new Date().toISOString(),
      task_id: id,
    });
    if (this.#commands.length === 0) setImmediate(this.#flush);
    if (!this.#batched) this.#commands.push(["multi"]);
    this.#commands.push(["setex", key, 86_400, text], ["publish", key, text]);
    if (!this.#batched) this.#commands.push(["exec"]);
  }

  #flush = () => {
    const commands = this.#commands;
    this.#commands = [];
    this.#redis.pipeline(this.#batched ? [["multi"], ...commands, ["exec"]] : commands).exec();
  };
}
