import type { PolicyDb } from "./binary/policydb.ts";

/** Attribute of the types that guests run in, of the reference policy and of Fedora's. */
export const GUESTS = "virt_domain";

/** Types that guests run in; none where the policy does not have the attribute. */
export function guestTypes(db: PolicyDb): readonly string[] {
  return db.expand(GUESTS) ?? [];
}
