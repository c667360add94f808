//! Messages in order of their arrival, and the one that overtakes: Stop.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

use web_sys::File;

use crate::protocol::{QuestionId, ToEngine};

/// A command with the files that came with it.
pub type Command = (ToEngine, Vec<File>);

struct Queue<T> {
    commands: VecDeque<T>,
    waker: Option<Waker>,
}

/// Messages that wait. Clones share one queue.
pub struct Mailbox<T>(Rc<RefCell<Queue<T>>>);

/// Commands that wait.
pub type Inbox = Mailbox<Command>;

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(Queue { commands: VecDeque::new(), waker: None })))
    }
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Mailbox<T> {
    /// Adds a message at the end.
    pub fn push(&self, command: T) {
        let mut queue = self.0.borrow_mut();
        queue.commands.push_back(command);
        if let Some(waker) = queue.waker.take() {
            waker.wake();
        }
    }

    /// The next message; waits for one.
    pub async fn next(&self) -> T {
        poll_fn(|context| {
            let mut queue = self.0.borrow_mut();
            match queue.commands.pop_front() {
                Some(command) => Poll::Ready(command),
                None => {
                    queue.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Inbox {
    /// Whether question `id` is to be stopped; takes that command out.
    pub fn take_stop(&self, id: QuestionId) -> bool {
        let mut queue = self.0.borrow_mut();
        let stop = ToEngine::Stop { id };
        match queue.commands.iter().position(|(command, _)| *command == stop) {
            Some(index) => {
                queue.commands.remove(index);
                true
            }
            None => false,
        }
    }
}
