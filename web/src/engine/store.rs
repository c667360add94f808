//! Files that this browser keeps between visits.
//!
//! Model and adapter files are kept under their SHA-256: a copy is the right one or it is damaged,
//! and two versions share what they have in common. Beside a large one stand the hashes of its
//! pieces, for `hasher`. The site's lists are kept under their path,
//! for visits without a server. The bytes stay on the browser's side: responses go in, responses
//! come out.
//!
//! Where a browser offers no Cache API (a site without HTTPS, some private windows) the files are
//! held as blobs for this visit only. A missing key is `None`. A browser that refuses to keep a
//! file (its quota is used up) has it reported in the console, and the next visit fetches it again.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use js_sys::{Array, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, Cache, Request, Response};

use super::scope;

const NAME: &str = "lotwise-files";
/// Addresses below this folder of the site name kept files; nothing is ever fetched from them.
const FOLDER: &str = "kept/";

/// What a kept file is found by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// SHA-256 of the content, hexadecimal.
    Hash(String),
    /// The hashes of the pieces of what has this SHA-256.
    Pieces(String),
    /// Path below the site's folder.
    Path(String),
}

impl Key {
    fn address(&self, site: &str) -> String {
        match self {
            Self::Hash(hash) => format!("{site}{FOLDER}sha256/{hash}"),
            Self::Pieces(hash) => format!("{site}{FOLDER}pieces/{hash}"),
            Self::Path(path) => format!("{site}{FOLDER}path/{path}"),
        }
    }
}

enum Place {
    Cache(Cache),
    Visit(RefCell<BTreeMap<String, Blob>>),
}

/// The kept files of one site.
pub struct Store {
    /// Address of the site's folder, with a slash at its end.
    site: String,
    place: Place,
}

impl Store {
    /// Opens the store of the site at `site`.
    pub async fn open(site: String) -> Self {
        let place = match open_cache().await {
            Some(cache) => Place::Cache(cache),
            None => Place::Visit(RefCell::default()),
        };
        Self { site, place }
    }

    /// The kept copy, if there is one.
    pub async fn get(&self, key: &Key) -> Option<Response> {
        let address = key.address(&self.site);
        match &self.place {
            Place::Cache(cache) => {
                JsFuture::from(cache.match_with_str(&address)).await.ok()?.dyn_into().ok()
            }
            Place::Visit(blobs) => {
                Response::new_with_opt_blob(Some(blobs.borrow().get(&address)?)).ok()
            }
        }
    }

    /// Begins to keep the body of `response`, which must not be read by anybody else. It is kept
    /// once [`Keeping::done`] resolves.
    pub fn keep(&self, key: &Key, response: &Response) -> Keeping<'_> {
        let address = key.address(&self.site);
        let promise = match &self.place {
            Place::Cache(cache) => Ok(cache.put_with_str(&address, response)),
            Place::Visit(_) => response.blob(),
        };
        Keeping { store: self, address, promise }
    }

    /// Removes the copy under `key`.
    pub async fn remove(&self, key: &Key) {
        let address = key.address(&self.site);
        match &self.place {
            Place::Cache(cache) => {
                if let Err(error) = JsFuture::from(cache.delete_with_str(&address)).await {
                    warn(&format!("{address} was not removed"), &error);
                }
            }
            Place::Visit(blobs) => {
                blobs.borrow_mut().remove(&address);
            }
        }
    }

    /// Removes the files of this site that are kept under a hash which is not among `used`.
    pub async fn prune(&self, used: &BTreeSet<String>) {
        // What is held for this visit goes with it.
        let Place::Cache(cache) = &self.place else { return };
        let Ok(requests) = JsFuture::from(cache.keys()).await else { return };
        for request in Array::from(&requests).iter() {
            let url = request.unchecked_into::<Request>().url();
            for key in [Key::Hash, Key::Pieces] {
                if let Some(hash) = url.strip_prefix(&key(String::new()).address(&self.site))
                    && !used.contains(hash)
                {
                    self.remove(&key(hash.to_owned())).await;
                }
            }
        }
    }
}

/// A file on its way into the store.
pub struct Keeping<'a> {
    store: &'a Store,
    address: String,
    promise: Result<Promise, JsValue>,
}

impl Keeping<'_> {
    /// Resolves when the file is kept, or when the browser has refused to.
    pub async fn done(self) {
        let result = match self.promise {
            Ok(promise) => JsFuture::from(promise).await,
            Err(error) => Err(error),
        };
        match (result, &self.store.place) {
            (Ok(blob), Place::Visit(blobs)) => {
                blobs.borrow_mut().insert(self.address, blob.unchecked_into());
            }
            (Ok(_), Place::Cache(_)) => {}
            (Err(error), _) => warn(&format!("{} was not kept", self.address), &error),
        }
    }
}

async fn open_cache() -> Option<Cache> {
    // Absent outside secure contexts, whatever the binding's type says.
    if !Reflect::has(&scope::global(), &JsValue::from_str("caches")).ok()? {
        return None;
    }
    let caches = scope::global().caches().ok()?;
    JsFuture::from(caches.open(NAME)).await.ok()?.dyn_into().ok()
}

fn warn(what: &str, error: &JsValue) {
    web_sys::console::warn_2(&JsValue::from_str(what), error);
}
