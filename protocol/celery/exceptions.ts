/** An exception of either language as data: never instantiated by name. wire: celery-wire 8.2. */
export interface RemoteException {
  /** Qualified name, such as `ValueError` or `Outer.Inner`. */
  type: string;
  /** Python module, such as `builtins`; null when the peer named none. */
  module: string | null;
  /** Constructor arguments. */
  args: readonly unknown[];
}
