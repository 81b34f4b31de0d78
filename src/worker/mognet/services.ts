/** The services of one app: functions as they are, and one instance of each class. wire: mognet/context/context.py `get_service`. */
import { ImproperlyConfigured } from "../../../protocol/errors.ts";
import type { Log } from "../../runtime/log.ts";
import type { MognetContext } from "../../tasks/mognet-context.ts";
import { ClassService, type ServiceClass, type ServiceFunction, type ServiceKey } from "../../tasks/mognet-services.ts";

export class Services {
  readonly #config: Readonly<Record<string, unknown>>;
  /** Replacements, and the instances made so far. */
  readonly #known: Map<ServiceKey, unknown>;
  readonly #made = new Set<ClassService>();

  /** `overrides` is the app's own map: what is put there stands in for its key. */
  constructor(config: Readonly<Record<string, unknown>>, overrides: Map<ServiceKey, unknown> = new Map()) {
    this.#config = config;
    this.#known = overrides;
  }

  get(key: ServiceKey, context: MognetContext, args: readonly unknown[]): unknown {
    if (typeof key !== "function") throw new ImproperlyConfigured("getService() takes a function or a ClassService");
    let service = this.#known.get(key);
    if (service === undefined) {
      service = isServiceClass(key) ? this.#make(key) : key;
      this.#known.set(key, service);
    }
    if (service instanceof ClassService) return service.call(context, ...args);
    if (typeof service === "function") return Reflect.apply(service, undefined, [context, ...args]);
    throw new ImproperlyConfigured(`the service in the place of ${key.name} is neither a function nor a ClassService`);
  }

  /** Closes the instances made here; what one throws is logged. */
  async close(log: Log): Promise<void> {
    for (const service of this.#made) {
      try {
        await service.close();
      } catch (error) {
        log.error({ err: error, service: service.constructor.name }, "a service could not be closed");
      }
    }
    for (const [key, value] of this.#known)
      if (value instanceof ClassService && this.#made.has(value)) this.#known.delete(key);
    this.#made.clear();
  }

  #make(key: ServiceClass): ClassService {
    const made = new key(this.#config);
    this.#made.add(made);
    return made;
  }
}

function isServiceClass(key: ServiceClass | ServiceFunction): key is ServiceClass {
  return key.prototype instanceof ClassService;
}
