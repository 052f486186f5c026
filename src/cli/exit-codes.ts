/** How the process ends; docs/cli.md tells it to people. */
export const EXIT = {
  ok: 0,
  /** The run failed, or the platform refused. */
  failed: 1,
  usage: 2,
  notConnected: 3,
  timedOut: 4,
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];
