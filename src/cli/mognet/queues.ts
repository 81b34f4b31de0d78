/** `lovage mognet queues stats | purge`. wire: mognet/cli/queues.py; `AmqpBroker.task_queue_stats`. */
import { pyRepr } from "../../../protocol/python-repr.ts";
import type { Mognet } from "../../app/mognet.ts";
import { QueueNotFound } from "../../transports/errors.ts";
import { EXIT, type Given, UsageError } from "../command.ts";
import { complain, print } from "../output.ts";
import { simpleTable } from "./table.ts";

interface Row {
  queue_name: string;
  message_count: number | null;
  consumer_count: number | null;
}

/** Of the queues named, else of all that the app's routes lead to. One that is missing is shown so; if it was named, that is a failure. */
export async function queuesStats(app: Mognet, given: Given, words: readonly string[]): Promise<number> {
  const rows: Row[] = [];
  for (const queue of words.length > 0 ? words : app.queues.routed) {
    try {
      const { queueName, messageCount, consumerCount } = await app.queueStats(queue);
      rows.push({ queue_name: queueName, message_count: messageCount, consumer_count: consumerCount });
    } catch (error) {
      if (!(error instanceof QueueNotFound)) throw error;
      rows.push({ queue_name: queue, message_count: null, consumer_count: null });
    }
  }
  if (given.on("json")) print(JSON.stringify(rows));
  else {
    const cells = rows.map(({ queue_name, message_count, consumer_count }) => [
      queue_name,
      message_count ?? "-",
      consumer_count ?? "-",
    ]);
    for (const line of simpleTable(cells, ["Queue", "Messages", "Consumers"])) print(line);
  }
  const lost = words.length > 0 ? rows.filter((row) => row.message_count === null).map((row) => row.queue_name) : [];
  if (lost.length > 0) complain(`No such queue: ${lost.join(", ")}\n`);
  return lost.length > 0 ? EXIT.failed : EXIT.ok;
}

export async function queuesPurge(app: Mognet, given: Given, words: readonly string[]): Promise<number> {
  if (words.length > 0) throw new UsageError(`unexpected ${words.join(" ")}`);
  const queues = await app.purgeTaskQueues();
  const control = await app.purgeControlQueue();
  if (given.on("json")) {
    print(JSON.stringify({ queues, control }));
    return EXIT.ok;
  }
  print("Purged the following queues:");
  for (const [queue, count] of Object.entries(queues)) print(`\t- ${pyRepr(queue)}: ${count}`);
  print(`Purged ${control} control messages`);
  return EXIT.ok;
}
