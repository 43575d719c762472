import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Icon } from "../icon.tsx";
import { t as common } from "../strings/common.ts";

/** A modal box; the browser keeps the focus in it and closes it on Esc. */
export function Dialog({
  title,
  close,
  children,
}: {
  title: string;
  close: () => void;
  children: ComponentChildren;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  return (
    <dialog
      ref={dialog}
      aria-label={title}
      onClose={close}
      onClick={(event) => {
        if (event.target === dialog.current) dialog.current?.close();
      }}
      onKeyDown={(event) => event.stopPropagation()}
    >
      <div class="dialog">
        <header>
          <h2>{title}</h2>
          <button
            type="button"
            class="quiet"
            aria-label={common("close")}
            onClick={() => dialog.current?.close()}
          >
            <Icon name="x" size={20} />
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}
