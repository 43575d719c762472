/** Groups in the left panel, above the resources: small cards two by two, the selected ones across. */
import { Icon } from "../icon.tsx";
import { radio } from "../strings/radio.ts";
import { useModel } from "./context.ts";
import { GroupCard } from "./group-card.tsx";
import { PatchBar } from "./patch-bar.tsx";

export function GroupPanel() {
  const model = useModel();
  const { desk } = model;
  const groups = desk.groups.value;
  return (
    <section class="groups" aria-label={radio("groups")}>
      <header class="panel-head">
        <h2>{radio("groups")}</h2>
        {model.may("group.manage") && (
          <span class="panel-tools">
            <button
              type="button"
              class="quiet icon-button"
              aria-pressed={desk.patching.value !== null}
              title={`${radio("patch_mode")} (T)`}
              aria-label={radio("patch_mode")}
              onClick={() => desk.togglePatching()}
            >
              <Icon name="link-2" />
            </button>
            <button
              type="button"
              class="quiet icon-button"
              title={radio("group_new")}
              aria-label={radio("group_new")}
              onClick={() => {
                desk.box.value = { kind: "new" };
              }}
            >
              <Icon name="plus" />
            </button>
          </span>
        )}
      </header>
      <PatchBar />
      {groups.length === 0 && <p class="dim panel-none">{radio("groups_none")}</p>}
      <div class="group-cards">
        {groups.map((group) => (
          <GroupCard key={group.id} group={group} large={desk.selected.value.includes(group.id)} />
        ))}
      </div>
    </section>
  );
}
