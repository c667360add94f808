//! IndexedDB, as far as the journal needs it.
//!
//! A database is opened for one transaction and closed again: nothing is held that a crash, an
//! update or another tab could invalidate.

use js_sys::{Array, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    IdbCursorDirection, IdbCursorWithValue, IdbDatabase, IdbFactory, IdbObjectStore,
    IdbObjectStoreParameters, IdbRequest, IdbTransaction, IdbTransactionMode,
};

const NAME: &str = "lotwise-journal";
const VERSION: u32 = 1;

/// Lines of the audit log, by sequence.
pub const LOG: &str = "log";
/// Lines of corrections, by a number that the browser gives.
pub const CORRECTIONS: &str = "corrections";
/// Settings, by name.
pub const SETTINGS: &str = "settings";

/// What the browser says that it failed at.
#[derive(Debug)]
pub struct StoreError(pub String);

impl From<JsValue> for StoreError {
    fn from(error: JsValue) -> Self {
        let part = |name: &str| {
            Reflect::get(&error, &JsValue::from_str(name)).ok().and_then(|part| part.as_string())
        };
        let words = match (part("name"), part("message").filter(|message| !message.is_empty())) {
            (Some(name), Some(message)) => format!("{name}: {message}"),
            (Some(name), None) => name,
            _ => format!("{error:?}"),
        };
        Self(words)
    }
}

/// One transaction on all stores. Dropped before [`Self::commit`], it may be kept or not: whoever
/// must know waits for the commit.
pub struct Transaction {
    database: IdbDatabase,
    transaction: IdbTransaction,
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // Takes effect once the transaction has ended.
        self.database.close();
    }
}

impl Transaction {
    /// Begins to read. `write`: and to change; such transactions run one after the other, those of
    /// other tabs included.
    pub async fn begin(write: bool) -> Result<Self, StoreError> {
        let database = open().await?;
        let stores = [LOG, CORRECTIONS, SETTINGS].map(JsValue::from_str).into_iter();
        let mode = if write { IdbTransactionMode::Readwrite } else { IdbTransactionMode::Readonly };
        let stores = stores.collect::<Array>();
        let transaction = database.transaction_with_str_sequence_and_mode(&stores, mode)?;
        Ok(Self { database, transaction })
    }

    /// The text under `key`.
    pub async fn get(&self, store: &str, key: &str) -> Result<Option<String>, StoreError> {
        let request = self.store(store)?.get(&JsValue::from_str(key))?;
        Ok(done(&request).await?.as_string())
    }

    /// Every text with its number, in order.
    pub async fn all(&self, store: &str) -> Result<Vec<(u32, String)>, StoreError> {
        // Both requests before the first await: a transaction without requests ends by itself.
        let store = self.store(store)?;
        let (keys, values) = (store.get_all_keys()?, store.get_all()?);
        let keys = Array::from(&done(&keys).await?);
        let values = Array::from(&done(&values).await?);
        let number = |key: JsValue| key.as_f64().map_or(0, |number| number as u32);
        let pairs = keys.iter().zip(values.iter());
        pairs
            .map(|(key, value)| {
                let text = value.as_string().ok_or(StoreError("an entry is no text".into()))?;
                Ok((number(key), text))
            })
            .collect()
    }

    /// The text under the highest number.
    pub async fn last(&self, store: &str) -> Result<Option<String>, StoreError> {
        let request = self
            .store(store)?
            .open_cursor_with_range_and_direction(&JsValue::NULL, IdbCursorDirection::Prev)?;
        match done(&request).await?.dyn_into::<IdbCursorWithValue>() {
            Ok(cursor) => {
                let text = cursor.value()?.as_string();
                text.map(Some).ok_or(StoreError("the last entry is no text".into()))
            }
            Err(_) => Ok(None),
        }
    }

    /// Adds a text under a number of its own.
    pub async fn add(&self, store: &str, key: u32, text: &str) -> Result<(), StoreError> {
        let (key, text) = (JsValue::from(key), JsValue::from_str(text));
        done(&self.store(store)?.add_with_key(&text, &key)?).await.map(drop)
    }

    /// Adds a text under the next number, and returns that.
    pub async fn append(&self, store: &str, text: &str) -> Result<u32, StoreError> {
        let key = done(&self.store(store)?.add(&JsValue::from_str(text))?).await?;
        Ok(key.as_f64().map_or(0, |number| number as u32))
    }

    /// Sets the text under `key`.
    pub async fn put(&self, store: &str, key: &str, text: &str) -> Result<(), StoreError> {
        let (key, text) = (JsValue::from_str(key), JsValue::from_str(text));
        done(&self.store(store)?.put_with_key(&text, &key)?).await.map(drop)
    }

    /// Removes the text under a number.
    pub async fn delete(&self, store: &str, key: u32) -> Result<(), StoreError> {
        done(&self.store(store)?.delete(&JsValue::from(key))?).await.map(drop)
    }

    /// Removes every text.
    pub async fn clear(&self, store: &str) -> Result<(), StoreError> {
        done(&self.store(store)?.clear()?).await.map(drop)
    }

    /// Resolves once everything is kept.
    pub async fn commit(self) -> Result<(), StoreError> {
        let promise = Promise::new(&mut |resolve, reject| {
            self.transaction.set_oncomplete(Some(&resolve));
            self.transaction.set_onabort(Some(&reject));
        });
        match JsFuture::from(promise).await {
            Ok(_) => Ok(()),
            Err(_) => Err(self.transaction.error().map_or_else(
                || StoreError("the transaction was aborted".into()),
                |error| StoreError::from(JsValue::from(error)),
            )),
        }
    }

    fn store(&self, name: &str) -> Result<IdbObjectStore, StoreError> {
        Ok(self.transaction.object_store(name)?)
    }
}

async fn open() -> Result<IdbDatabase, StoreError> {
    let absent = || StoreError("this browser offers no IndexedDB here".into());
    let window = web_sys::window().expect("the page runs in a window");
    let factory: IdbFactory = window.indexed_db()?.ok_or_else(absent)?;
    let request = factory.open_with_u32(NAME, VERSION)?;
    let upgrade = {
        let request = request.clone();
        Closure::once(move || -> Result<(), JsValue> {
            let database: IdbDatabase = request.result()?.unchecked_into();
            database.create_object_store(LOG)?;
            let numbered = IdbObjectStoreParameters::new();
            numbered.set_auto_increment(true);
            database.create_object_store_with_optional_parameters(CORRECTIONS, &numbered)?;
            database.create_object_store(SETTINGS)?;
            Ok(())
        })
    };
    request.set_onupgradeneeded(Some(upgrade.as_ref().unchecked_ref()));
    Ok(done(&request).await?.unchecked_into())
}

/// Resolves with the result of `request`. Goes on within the event that brings it, so that the
/// transaction is still open for the next request.
async fn done(request: &IdbRequest) -> Result<JsValue, StoreError> {
    let promise = Promise::new(&mut |resolve, reject| {
        request.set_onsuccess(Some(&resolve));
        request.set_onerror(Some(&reject));
    });
    match JsFuture::from(promise).await {
        Ok(_) => Ok(request.result()?),
        Err(_) => Err(request.error()?.map_or_else(
            || StoreError("the browser gave no reason".into()),
            |error| StoreError::from(JsValue::from(error)),
        )),
    }
}
