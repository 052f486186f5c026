import type { Json } from "../lib/json.ts";
import type { BatchCertificate } from "./batch-certificate.ts";
import type { Certificate } from "./certificate.ts";
import type { Digest, PublicKey } from "./crypto.ts";
import type { CertifiedMembership, ReplicaIndex } from "./membership.ts";
import type { Operation, Reply, Request } from "./messages.ts";

export interface ReplicaClientOptions {
  membership: CertifiedMembership;
  /** The client's own public key, one of `membership.clients`. */
  key: PublicKey;
  /** Greater than that of each earlier life. */
  session: number;
  /** Operations of earlier lives whose results are not durable yet: the replicas keep what they know of them. Default none. */
  keep?: readonly string[];
  limits?: Partial<ClientLimits>;
}

export interface ClientLimits {
  /** Operations in one request. Default 128. */
  maxOperations: number;
  /** Requests under way; more operations wait. Default 512. */
  maxRequests: number;
  /** When a request is sent again for the first time; doubles. Default 150. */
  retryMs: number;
  /** Default 2,000. */
  maxRetryMs: number;
  /** Characters of one request. Default 1,048,576. */
  maxSize: number;
  /** How long a replica may miss votes that the others have sent. Default 1,000. */
  silenceMs: number;
  /** Characters that are held of one replica's replies, for operations that have not ended. Default 67,108,864. */
  maxHeld: number;
}

export type ClientTimer = "flush" | "retry";

export type ClientInput =
  | { t: "submit"; operations: readonly Operation[] }
  /** These results are durable at the client: the replicas need to keep them no longer. */
  | { t: "settle"; operations: readonly string[] }
  /** Asks the replicas to go on as the members of the next epoch. Answered by `reconfigured`. */
  | { t: "reconfigure"; next: CertifiedMembership }
  | { t: "reply"; from: ReplicaIndex; reply: Reply }
  /** The set has new members, as the host has learned from them or from the admin. */
  | { t: "epoch"; membership: CertifiedMembership }
  /** The replica begins: votes that were missed before were not its own to give. */
  | { t: "begun"; replica: ReplicaIndex }
  | { t: "timer"; timer: ClientTimer };

export type ClientEffect =
  | { t: "send"; to: ReplicaIndex[]; request: Request }
  /** With `batch` where the same votes certify all results of the batch: one object for all of them. */
  | { t: "certified"; operation: string; certificate: Certificate; outcome: Json; batch?: BatchCertificate }
  /** All replicas have answered, and no 2f + 1 of them the same: the function is not deterministic. */
  | { t: "diverged"; operation: string; outcomes: { replica: ReplicaIndex; resultHash: Digest; outcome: Json }[] }
  | { t: "reconfigured"; epoch: number; certificate: Certificate; outcome: Json }
  | { t: "evidence"; evidence: ClientEvidence }
  /** Arms a timer anew; without `afterMs` it is stopped. `flush` after 0 ms is the end of the host's turn. */
  | { t: "timer"; timer: ClientTimer; afterMs?: number };

/** `wrong-vote` convinces anyone by its proof; `bad-vote`, whose signature or path is not valid, and `silent` are this client's word. */
export interface ClientEvidence {
  about: ReplicaIndex;
  kind: "wrong-vote" | "bad-vote" | "silent";
  detail: string;
  /** Since when it has been silent. */
  forMs?: number;
  /** For a wrong vote: the reply, and the certificate that it contradicts. */
  proof?: { reply: Reply; certificate: Certificate };
}
