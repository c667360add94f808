//! Adapter files dropped anywhere on the page, loose or as their folder.

use js_sys::{Array, Promise};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{
    DataTransfer, File, FileSystemDirectoryEntry, FileSystemDirectoryReader, FileSystemEntry,
    FileSystemFileEntry,
};
use yew::prelude::*;

/// Handlers for the page's outermost element.
pub struct Dropping {
    /// Whether something is being dragged over the page.
    pub over: bool,
    /// For `ondragover`.
    pub on_over: Callback<DragEvent>,
    /// For `ondragleave`.
    pub on_leave: Callback<DragEvent>,
    /// For `ondrop`.
    pub on_drop: Callback<DragEvent>,
}

/// Hands files that are dropped on the page to `on_files`; of a folder, the files directly in it.
#[hook]
pub fn use_drop(on_files: Callback<Vec<File>>) -> Dropping {
    let over = use_state(|| false);
    let on_over = {
        let over = over.clone();
        Callback::from(move |event: DragEvent| {
            event.prevent_default();
            over.set(true);
        })
    };
    let on_leave = {
        let over = over.clone();
        Callback::from(move |event: DragEvent| {
            // Moving between children of the page leaves one and enters another.
            if event.related_target().is_none() {
                over.set(false);
            }
        })
    };
    let on_drop = {
        let over = over.clone();
        Callback::from(move |event: DragEvent| {
            event.prevent_default();
            over.set(false);
            let Some(transfer) = event.data_transfer() else { return };
            // Entries are only there during the event, so they are taken before anything awaits.
            let entries = entries(&transfer);
            let on_files = on_files.clone();
            spawn_local(async move { on_files.emit(files(entries).await) });
        })
    };
    Dropping { over: *over, on_over, on_leave, on_drop }
}

fn entries(transfer: &DataTransfer) -> Vec<FileSystemEntry> {
    let items = transfer.items();
    (0..items.length())
        .filter_map(|index| items.get(index)?.webkit_get_as_entry().ok().flatten())
        .collect()
}

async fn files(entries: Vec<FileSystemEntry>) -> Vec<File> {
    let mut found = Vec::new();
    for entry in entries {
        if entry.is_directory() {
            for child in children(entry.unchecked_into()).await {
                found.extend(file(&child).await);
            }
        } else {
            found.extend(file(&entry).await);
        }
    }
    found
}

/// What is directly in a folder. A browser hands it over in portions; an empty one is the last.
async fn children(folder: FileSystemDirectoryEntry) -> Vec<FileSystemEntry> {
    let reader = folder.create_reader();
    let mut found = Vec::new();
    loop {
        match portion(&reader).await {
            Some(entries) if entries.length() > 0 => {
                found.extend(entries.iter().map(JsCast::unchecked_into::<FileSystemEntry>));
            }
            _ => return found,
        }
    }
}

async fn portion(reader: &FileSystemDirectoryReader) -> Option<Array> {
    let entries = call_back(|resolve, reject| {
        reader.read_entries_with_callback_and_callback(resolve, reject)
    });
    Some(entries.await?.unchecked_into())
}

async fn file(entry: &FileSystemEntry) -> Option<File> {
    let entry: &FileSystemFileEntry = entry.is_file().then(|| entry.unchecked_ref())?;
    let file = call_back(|resolve, reject| {
        entry.file_with_callback_and_callback(resolve, reject);
        Ok(())
    });
    Some(file.await?.unchecked_into())
}

/// Awaits one of the older browser calls that take two callbacks. `None` where it failed: what
/// cannot be read is missing among the files, and the engine says which one it needs.
async fn call_back(
    call: impl FnOnce(&js_sys::Function, &js_sys::Function) -> Result<(), JsValue>,
) -> Option<JsValue> {
    let mut call = Some(call);
    let promise = Promise::new(&mut |resolve, reject| {
        if let Some(call) = call.take()
            && let Err(error) = call(&resolve, &reject)
        {
            let _ = reject.call1(&JsValue::NULL, &error);
        }
    });
    JsFuture::from(promise).await.ok()
}
