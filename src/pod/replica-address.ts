import { dirname, join } from "node:path";

/**
 * Where a replica listens for its peers. On one machine it is a socket in the directory of the control plane's own, which nobody else may enter;
 * with a control plane elsewhere, any free port at the address by which the pod has reached it.
 */
export const listenBeside = (address: string, pod: string, local: string | undefined): string =>
  local === undefined ? join(dirname(address), `${pod}.peer`) : `${local}:0`;
