import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { PublicKey } from "../consensus/crypto.ts";
import { LockstepError } from "../lib/errors.ts";
import { generateSecretKey, publicKeyOf, publicKeyPem, type SecretKey } from "./node-crypto.ts";

/** Whose word the replicas of a platform take: the admin says who is in a set, the client what is to be executed. */
export interface PlatformKeys {
  admin: SecretKey;
  client: SecretKey;
  adminKey: PublicKey;
  clientKey: PublicKey;
}

const ADMIN = "admin.secret";
const CLIENT = "client.secret";
/** Whoever checks certificates needs it, and may have it. */
const ADMIN_PUBLIC = "admin.pub";

/**
 * The keys in `directory`, which are made when there are none.
 * @throws {LockstepError} KEYS_UNREADABLE when a file holds something else
 */
export const openKeys = (directory: string): PlatformKeys => {
  const admin = keyIn(directory, ADMIN);
  const client = keyIn(directory, CLIENT);
  const keys = { admin, client, adminKey: publicKeyOf(admin), clientKey: publicKeyOf(client) };
  writeWhole(join(directory, ADMIN_PUBLIC), publicKeyPem(keys.adminKey), 0o644);
  return keys;
};

const keyIn = (directory: string, name: string): SecretKey => {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, name);
  if (!existsSync(path)) writeWhole(path, `${generateSecretKey()}\n`, 0o600);
  const secret = readFileSync(path, "utf8").trim();
  try {
    publicKeyOf(secret);
  } catch (cause) {
    // Another key in its place would make every certificate of before one that nobody can check.
    const message = `${path} holds no Ed25519 secret key: put the file back from a backup, or remove it for a new key`;
    throw new LockstepError("KEYS_UNREADABLE", message, { cause });
  }
  chmodSync(path, 0o600);
  return secret;
};

// Written aside and renamed: a crash leaves the old file, or none, and never half a key.
const writeWhole = (path: string, text: string, mode: number): void => {
  const partial = `${path}.partial`;
  writeFileSync(partial, text, { mode, flush: true });
  renameSync(partial, path);
};
