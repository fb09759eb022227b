// What a person chooses or drops to be sent: every file with its path, folders walked through.
"use strict";
{
  const form = document.getElementById("upload");
  const drop = document.getElementById("upload-drop");
  const choose = (files, unread = []) => form.dispatchEvent(new CustomEvent("chosen", { detail: { files, unread } }));

  form.querySelectorAll("input[type=file]").forEach((input) => {
    // The theme of the administration would write the file's name into a field that there is not: it passes these over.
    input.hasChangeListener = true;
    input.addEventListener("change", () => {
      const files = [...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
      // So that the same file, mended meanwhile, is a change again.
      input.value = "";
      if (!drop.inert) choose(files);
    });
  });

  // A dropped folder tells its entries in portions.
  const entriesOf = async (folder) => {
    const reader = folder.createReader();
    const all = [];
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) return all;
      all.push(...some);
    }
  };
  // What cannot be read goes into `unread`, and the others are sent all the same.
  const filesOf = async (entry, unread) => {
    try {
      if (entry.isFile) {
        const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
        return [{ file, path: entry.fullPath.slice(1) }];
      }
      const found = [];
      for (const each of await entriesOf(entry)) found.push(...await filesOf(each, unread));
      return found;
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      unread.push(entry.fullPath.slice(1));
      return [];
    }
  };
  // Until a folder is walked through, nothing else is taken: what was dropped first would be forgotten.
  const setReading = (is) => {
    drop.inert = document.getElementById("upload-choice").inert = is;
    if (is) form.dispatchEvent(new Event("reading"));
  };
  document.addEventListener("dragover", (event) => event.preventDefault());
  drop.addEventListener("dragenter", () => drop.classList.add("is-over"));
  drop.addEventListener("dragleave", () => drop.classList.remove("is-over"));
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.classList.remove("is-over");
    if (drop.hidden || drop.inert) return;
    // The list is empty after the first wait.
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    const found = [];
    const unread = [];
    setReading(true);
    for (const entry of entries) found.push(...await filesOf(entry, unread));
    setReading(false);
    choose(found, unread);
  });
}
