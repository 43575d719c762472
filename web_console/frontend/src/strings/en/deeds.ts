import type { deedStrings } from "../deeds.ts";

export const deeds: Record<keyof typeof deedStrings, string> = {
  rename_title: "Rename the unit",
  rename_new: "New name",
  rename_do: "Save the name",
  close_what: "End the publisher of {name}",
  close_effect:
    "Every desk loses this picture at once. They can publish again; to shut them out, revoke their join link or device.",
  close_effect_camera:
    "Every desk loses this picture at once. The server pulls it again after about a minute.",
  close_reason: "Reason (required, goes to the audit log)",
  close_do: "End it",
};
