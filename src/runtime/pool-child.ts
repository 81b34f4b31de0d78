/** Whether this thread or process is a child of a worker's pool, which runs the bodies of that worker's tasks. */

let child = false;

export function becomePoolChild(): void {
  child = true;
}

export function inPoolChild(): boolean {
  return child;
}
