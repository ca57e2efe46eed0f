// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRollup} from "./IRollup.sol";
import {Bn254} from "./libraries/Bn254.sol";
import {Challenges} from "./libraries/Challenges.sol";
import {Counters} from "./libraries/Counters.sol";
import {Groth16} from "./libraries/Groth16.sol";
import {Keys} from "./libraries/Keys.sol";
import {Kzg} from "./libraries/Kzg.sol";
import {Words} from "./libraries/Words.sol";

interface IErc20 {
    function balanceOf(address account) external view returns (uint256);
}

/// @title The L1 side of a Sheaf rollup
/// @dev See `IRollup` for what every entry point does. Order in here: storage, constructor, users, operator, anybody, views, internals; in every function
/// checks, then effects, then calls to others.
contract Rollup is IRollup {
    using Counters for uint256;
    using Counters for Counters.Values;

    /// Number of the native coin.
    uint16 private constant NATIVE = 1;
    uint8 private constant DEPOSIT = 1;
    uint256 private constant MAX_QUEUE_FEE = 0.1 ether;
    /// A token's supply inside the rollup stays below.
    uint256 private constant SUPPLY_CAP = 1 << 112;
    uint256 private constant W0_CAP = 1 << 56;
    uint256 private constant ADDRESS_CAP = 1 << 160;
    /// Deadlines of entries that lie a full circuit apart differ by at least this.
    uint256 private constant QUEUE_PERIOD = 1 hours;
    /// A slot's dyn is balance + 2^128 nonce + 2^168 token.
    uint256 private constant DYN_CAP = 1 << 184;
    uint256 private constant TOKEN_SHIFT = 168;

    uint256 public immutable override domain;
    uint256 public immutable override k;
    address public immutable override operator;
    uint256 public immutable override listingFee;
    uint256 public immutable override queueFee;
    uint256 public immutable override forceTimeout;
    uint256 public immutable override proveTimeout;
    uint256 public immutable override queueRate;
    uint256 public immutable override circuitCount;
    address public immutable override keys;

    bytes32 public override stateRoot;
    bytes32 public override committedRoot;
    /// See `Counters`.
    uint256 private counters;

    mapping(uint256 number => bytes32) public override batchHash;
    mapping(uint256 index => bytes32) public override queueDigest;
    mapping(uint256 index => uint256) public override queueDeadline;
    mapping(uint256 number => mapping(uint256 word => uint256)) private settledBits;
    mapping(uint256 word => uint256) private refundedBits;
    mapping(uint256 word => uint256) private exitedBits;
    mapping(uint16 token => address) public override tokenAddress;
    mapping(address erc20 => uint16) public override tokenId;
    mapping(uint16 token => mapping(address account => uint256)) public override claimable;
    mapping(uint16 token => uint256) public override escrow;
    uint256 private feesPaid;

    bool private transient entered;

    /// Nothing here may be entered while a token or a recipient is being called.
    modifier nonReentrant() {
        enter();
        _;
        entered = false;
    }

    constructor(Params memory params) {
        if (params.k < Keys.MIN_K || params.k > Keys.MAX_K) revert StateSizeOutOfRange(params.k);
        if (params.operator == address(0)) revert OperatorIsZero();
        if (params.queueFee > MAX_QUEUE_FEE) revert QueueFeeTooHigh(params.queueFee);
        requireTimeout(params.forceTimeout);
        requireTimeout(params.proveTimeout);
        domain = Challenges.domain(block.chainid, address(this));
        k = params.k;
        operator = params.operator;
        listingFee = params.listingFee;
        queueFee = params.queueFee;
        forceTimeout = params.forceTimeout;
        proveTimeout = params.proveTimeout;
        keys = Keys.store(params, domain);
        circuitCount = params.circuits.length;
        uint256 rate;
        for (uint256 i; i < params.circuits.length; ++i) {
            if (params.circuits[i].shape.deposits > rate) rate = params.circuits[i].shape.deposits;
        }
        queueRate = rate;
        uint256[6] memory empty;
        stateRoot = keccak256(abi.encode(params.k, empty));
        committedRoot = stateRoot;
        Counters.Values memory at;
        at.lastToken = NATIVE;
        counters = at.pack();
    }

    // ---------------------------------------------------------------------------------------------------------------------------------------------
    // Users
    // ---------------------------------------------------------------------------------------------------------------------------------------------

    function deposit(uint256 key, address owner) external payable nonReentrant {
        if (msg.value < queueFee) revert WrongFee(msg.value, queueFee);
        enqueueDeposit(NATIVE, msg.value - queueFee, key, owner);
    }

    function depositToken(uint16 token, uint256 amount, uint256 key, address owner) external payable nonReentrant {
        if (msg.value != queueFee) revert WrongFee(msg.value, queueFee);
        address erc20 = tokenAddress[token];
        if (erc20 == address(0)) revert TokenNotListed(token);
        // what arrived counts, not what was asked for: some tokens take a fee
        uint256 before = IErc20(erc20).balanceOf(address(this));
        callToken(token, erc20, abi.encodeWithSignature("transferFrom(address,address,uint256)", msg.sender, address(this), amount));
        uint256 afterwards = IErc20(erc20).balanceOf(address(this));
        enqueueDeposit(token, afterwards > before ? afterwards - before : 0, key, owner);
    }

    function listToken(address erc20) external payable nonReentrant returns (uint16 id) {
        if (msg.value != listingFee) revert WrongFee(msg.value, listingFee);
        if (erc20.code.length == 0) revert TokenHasNoCode(erc20);
        if (tokenId[erc20] != 0) revert TokenAlreadyListed(tokenId[erc20]);
        Counters.Values memory at = live();
        if (at.lastToken == type(uint16).max) revert TokenRegistryFull();
        id = uint16(++at.lastToken);
        counters = at.pack();
        tokenAddress[id] = erc20;
        tokenId[erc20] = id;
        emit TokenListed(id, erc20);
    }

    function claim(uint16 token, address to) external nonReentrant {
        uint256 amount = claimable[token][msg.sender];
        if (amount == 0) revert NothingToClaim();
        if (to == address(0)) revert RecipientIsZero();
        uint256 held = escrow[token];
        if (amount > held) revert EscrowExceeded(token, amount, held);
        claimable[token][msg.sender] = 0;
        escrow[token] = held - amount;
        emit Claimed(msg.sender, token, amount, to);
        if (token == NATIVE) {
            payNative(to, amount);
        } else {
            callToken(token, tokenAddress[token], abi.encodeWithSignature("transfer(address,uint256)", to, amount));
        }
    }

    // ---------------------------------------------------------------------------------------------------------------------------------------------
    // Operator
    // ---------------------------------------------------------------------------------------------------------------------------------------------

    function commit(Commit calldata batch) external nonReentrant {
        if (msg.sender != operator) revert NotOperator();
        if (msg.sender != tx.origin || msg.sender.code.length != 0) revert NotOutermostCall();
        Counters.Values memory at = live();
        uint256 number = ++at.committed;
        if (batch.number != number) revert WrongNumber(batch.number, number);
        requireCircuit(batch.circuit);
        requirePoints(batch);
        if (batch.h >= Bn254.R) revert PublicInputOutOfRange(batch.h);
        Shape memory shape = Keys.readShape(keys, batch.circuit);
        at.queueCommitted = takeEntries(batch, at.queueCommitted);
        uint256[] memory words = buildWords(batch, shape);

        uint256[18] memory record = Challenges.newRecord(batch, committedRoot, keccak256(abi.encode(batch.choices, words)));
        uint256 zeta = Challenges.zeta(Challenges.rho(domain, Challenges.hashWords(record, 14)), batch.cq);
        record[16] = Words.posted(batch.data, shape, zeta);
        record[17] = Words.built(words, batch.withdrawals.length, shape, zeta);

        bytes32 hash = Challenges.hashWords(record, 18);
        bytes32 root = Challenges.stateRoot(k, batch.commitments);
        batchHash[number] = hash;
        committedRoot = root;
        if (at.pendingSince == 0) at.pendingSince = block.timestamp;
        counters = at.pack();
        emit Committed(number, batch.circuit, hash, root);
    }

    function revertTo(uint256 to, Record calldata record, uint256 lastEntry) external nonReentrant {
        if (msg.sender != operator) revert NotOperator();
        Counters.Values memory at = live();
        if (to < at.proven || to >= at.committed) revert RevertOutOfRange(to, at.proven, at.committed);
        for (; at.committed > to; --at.committed) {
            delete batchHash[at.committed];
        }
        bytes32 root = stateRoot;
        if (to == at.proven) {
            at.queueCommitted = at.queueProven;
        } else {
            if (Challenges.recordHash(record) != batchHash[to]) revert RecordMismatch(to);
            // no two entries have the same digest; those that do not exist yet have the one of the queue's start
            if (lastEntry > at.queueCommitted || queueDigest[lastEntry] != record.header.queueDigest) revert QueueMismatch();
            at.queueCommitted = lastEntry;
            root = Challenges.stateRoot(k, record.header.commitments);
        }
        committedRoot = root;
        counters = at.pack();
        emit Reverted(to, root);
    }

    function claimFees(address to) external nonReentrant {
        if (msg.sender != operator) revert NotOperator();
        if (to == address(0)) revert RecipientIsZero();
        uint256 amount = feesEarned();
        if (amount == 0) revert NothingToClaim();
        feesPaid += amount;
        emit FeesClaimed(amount, to);
        payNative(to, amount);
    }

    // ---------------------------------------------------------------------------------------------------------------------------------------------
    // Anybody
    // ---------------------------------------------------------------------------------------------------------------------------------------------

    /// What one call of `prove` gathers.
    struct Proving {
        bytes32 root;
        uint256 seed;
        Bn254.Pairs pairs;
        Groth16.Sum[] circuits;
        Kzg.Sum kzg;
    }

    function prove(uint256[6] calldata oldCommitments, BatchProof[] calldata batches) external nonReentrant {
        Counters.Values memory at = live();
        uint256 first = firstUnproven(batches, at.proven);
        uint256[6] calldata before = first == 0 ? oldCommitments : batches[first - 1].record.header.commitments;
        Proving memory p;
        p.root = stateRoot;
        if (Challenges.stateRoot(k, before) != p.root) revert OldCommitmentsMismatch();
        // every proof, opening and record lies in this calldata, so the weights depend on all of them
        p.seed = uint256(keccak256(msg.data));
        p.pairs = Bn254.newPairs(batches.length - first + circuitCount + 3);
        p.circuits = new Groth16.Sum[](circuitCount);
        for (uint256 i = first; i < batches.length; ++i) {
            BatchProof calldata batch = batches[i];
            bytes32 header = checkBatch(p, batch, ++at.proven, at.committed);
            addBatch(p, before, batch, header, i - first);
            before = batch.record.header.commitments;
            p.root = Challenges.stateRoot(k, before);
            at.queueProven += batch.record.header.taken;
            emit Proven(at.proven, p.root);
        }
        if (!holds(p, before)) revert ProofInvalid();

        stateRoot = p.root;
        at.pendingSince = at.proven == at.committed ? 0 : block.timestamp;
        counters = at.pack();
    }

    function settle(Record calldata record, uint256[] calldata choices, uint256[] calldata words, uint256 first, uint256 count)
        external
        nonReentrant
    {
        uint256 number = requireProven(record, choices, words);
        uint256 items = (words.length - Words.DEPOSIT_WORDS * depositsIn(choices)) / Words.WITHDRAWAL_WORDS;
        if (first > items || count > items - first) revert ItemOutOfRange(first, items);
        bool any;
        for (uint256 item = first; item < first + count; ++item) {
            if (!mark(settledBits[number], item)) continue;
            any = true;
            uint256 w0 = words[Words.WITHDRAWAL_WORDS * item];
            // an unused slot names slot 0 and has no amount
            if (w0 & 0xffffff == 0) continue;
            credit(
                address(uint160(words[Words.WITHDRAWAL_WORDS * item + 2])), uint16(w0 >> 24), words[Words.WITHDRAWAL_WORDS * item + 1], number, item
            );
        }
        if (!any) revert NothingToSettle();
    }

    function settleRefunds(
        Record calldata record,
        uint256[] calldata choices,
        uint256[] calldata words,
        uint256 lastEntry,
        uint256 first,
        QueueEntry[] calldata entries
    ) external nonReentrant {
        requireProven(record, choices, words);
        // no two entries have the same digest: this is the batch's last one
        if (queueDigest[lastEntry] != record.header.queueDigest) revert QueueMismatch();
        uint256 start = lastEntry + 1 - choices.length;
        if (first < start || first > lastEntry || entries.length > lastEntry + 1 - first) revert EntryOutOfRange(first, start, lastEntry);
        requireQueued(first - 1, entries);
        bool any;
        for (uint256 i; i < entries.length; ++i) {
            if (choices[first - start + i] >> 8 != 0) continue;
            (bool fresh,) = giveBack(first + i, entries[i]);
            if (fresh) any = true;
        }
        if (!any) revert NothingToRefund();
    }

    function freeze() external nonReentrant {
        Counters.Values memory at = live();
        uint256 entryDue = queueDeadline[at.queueProven + 1];
        uint256 proofDue = at.committed > at.proven ? at.pendingSince + proveTimeout : 0;
        bool overdue = (entryDue != 0 && block.timestamp > entryDue) || (proofDue != 0 && block.timestamp > proofDue);
        if (!overdue) revert NothingOverdue(entryDue, proofDue);
        counters = counters.freeze();
        emit Frozen(at.proven, stateRoot);
    }

    function exit(uint256 idx, uint256 dyn, address owner, uint256[6] calldata commitments, uint256[2] calldata opening) external nonReentrant {
        if (!counters.isFrozen()) revert NotFrozen();
        if (idx == 0 || idx >> k != 0) revert SlotOutOfRange(idx);
        uint16 token = uint16(dyn >> TOKEN_SHIFT);
        if (dyn >= DYN_CAP || token == 0) revert DynOutOfRange(dyn);
        if (owner == address(0)) revert OwnerIsZero();
        requirePoint(0, Point.Opening, opening[0], opening[1]);
        bytes32 root = stateRoot;
        if (Challenges.stateRoot(k, commitments) != root) revert OldCommitmentsMismatch();
        if (!mark(exitedBits, idx)) revert AlreadyExited(idx);
        uint256 g = Challenges.exit(root, idx, dyn, owner);
        uint256 value = addmod(dyn, mulmod(g, uint160(owner), Bn254.R), Bn254.R);
        if (!Kzg.opensSlot(commitments, idx, value, g, opening, Keys.readShared(keys, k).tau)) revert OpeningInvalid();
        claimable[token][owner] += uint128(dyn);
        emit Exited(idx, owner, token, uint128(dyn));
    }

    function refund(uint256 first, QueueEntry[] calldata entries) external nonReentrant {
        Counters.Values memory at = counters.unpack();
        if (!counters.isFrozen()) revert NotFrozen();
        if (first <= at.queueProven) revert EntryOutOfRange(first, at.queueProven + 1, at.queued);
        requireQueued(first - 1, entries);
        uint256 count;
        for (uint256 i; i < entries.length; ++i) {
            (bool fresh, address sender) = giveBack(first + i, entries[i]);
            if (!fresh) continue;
            ++count;
            claimable[NATIVE][sender] += queueFee;
        }
        if (count == 0) revert NothingToRefund();
        escrow[NATIVE] += count * queueFee;
    }

    // ---------------------------------------------------------------------------------------------------------------------------------------------
    // Views
    // ---------------------------------------------------------------------------------------------------------------------------------------------

    function committed() external view returns (uint256) {
        return counters.unpack().committed;
    }

    function proven() external view returns (uint256) {
        return counters.unpack().proven;
    }

    function pendingSince() external view returns (uint256) {
        return counters.unpack().pendingSince;
    }

    function frozen() external view returns (bool) {
        return counters.isFrozen();
    }

    function queueLength() external view returns (uint256) {
        return counters.unpack().queued;
    }

    function queueCommitted() external view returns (uint256) {
        return counters.unpack().queueCommitted;
    }

    function queueProven() external view returns (uint256) {
        return counters.unpack().queueProven;
    }

    function lastToken() external view returns (uint16) {
        return uint16(counters.unpack().lastToken);
    }

    /// Derived, so that a proof need not write it: what was earned so far less what was paid.
    function feesEarned() public view returns (uint256) {
        Counters.Values memory at = counters.unpack();
        return (at.lastToken - NATIVE) * listingFee + at.queueProven * queueFee - feesPaid;
    }

    function settled(uint256 number, uint256 item) external view returns (bool) {
        return isMarked(settledBits[number], item);
    }

    function refunded(uint256 index) external view returns (bool) {
        return isMarked(refundedBits, index);
    }

    function exited(uint256 idx) external view returns (bool) {
        return isMarked(exitedBits, idx);
    }

    // ---------------------------------------------------------------------------------------------------------------------------------------------
    // Internals: queue and coins
    // ---------------------------------------------------------------------------------------------------------------------------------------------

    /// Not in the modifier itself, whose code every entry point repeats.
    function enter() private {
        if (entered) revert Reentered();
        entered = true;
    }

    function requireTimeout(uint256 timeout) private pure {
        if (timeout == 0 || timeout > type(uint32).max) revert TimeoutOutOfRange(timeout);
    }

    /// What the contract counts, unless it is frozen.
    function live() private view returns (Counters.Values memory at) {
        uint256 slot = counters;
        if (slot.isFrozen()) revert IsFrozen();
        at = slot.unpack();
    }

    function enqueueDeposit(uint16 token, uint256 amount, uint256 key, address owner) private {
        if (key == 0 || key >= Bn254.R) revert KeyOutOfRange(key);
        if (owner == address(0)) revert OwnerIsZero();
        if (amount == 0) revert NothingDeposited();
        uint256 held = escrow[token];
        if (amount >= SUPPLY_CAP || held + amount >= SUPPLY_CAP) revert SupplyCapReached(token);
        escrow[token] = held + amount;
        Counters.Values memory at = live();
        uint256 index = ++at.queued;
        counters = at.pack();
        QueueEntry memory entry = QueueEntry(DEPOSIT, msg.sender, token, uint112(amount), 0, owner, key);
        queueDigest[index] = Challenges.queueDigest(queueDigest[index - 1], Challenges.entryHash(entry));
        queueDeadline[index] = deadline(index);
        emit Queued(index, DEPOSIT, msg.sender, token, uint112(amount), 0, owner, key);
    }

    /// No later than a full circuit an hour can serve what is queued before it.
    function deadline(uint256 index) private view returns (uint256 time) {
        time = block.timestamp + forceTimeout;
        uint256 spaced = index > queueRate ? queueDeadline[index - queueRate] + QUEUE_PERIOD : 0;
        if (spaced > time) time = spaced;
    }

    function credit(address to, uint16 token, uint256 amount, uint256 number, uint256 item) private {
        claimable[token][to] += amount;
        emit Credited(to, token, amount, number, item);
    }

    /// Credits a queued deposit to who sent it, once.
    function giveBack(uint256 index, QueueEntry calldata entry) private returns (bool fresh, address sender) {
        sender = entry.sender;
        fresh = mark(refundedBits, index);
        if (!fresh) return (false, sender);
        (uint16 token, uint256 amount) = (entry.token, entry.amount);
        claimable[token][sender] += amount;
        emit Refunded(index, sender, token, amount);
    }

    function mark(mapping(uint256 word => uint256) storage bitmap, uint256 place) private returns (bool fresh) {
        uint256 bit = 1 << (place & 255);
        uint256 bits = bitmap[place >> 8];
        fresh = bits & bit == 0;
        if (fresh) bitmap[place >> 8] = bits | bit;
    }

    function isMarked(mapping(uint256 word => uint256) storage bitmap, uint256 place) private view returns (bool) {
        return bitmap[place >> 8] >> (place & 255) & 1 == 1;
    }

    /// Number of a proven batch whose operations these are.
    function requireProven(Record calldata record, uint256[] calldata choices, uint256[] calldata words) private view returns (uint256 number) {
        number = record.header.number;
        if (number == 0 || number > counters.unpack().proven) revert NotProven(number);
        if (Challenges.recordHash(record) != batchHash[number]) revert RecordMismatch(number);
        if (keccak256(abi.encode(choices, words)) != record.header.opsHash) revert OperationsMismatch(number);
    }

    /// The entries must follow the one at `from` as they were queued: their digests are chained. An entry beyond the queue's end has digest 0, which no
    /// chain ends in.
    function requireQueued(uint256 from, QueueEntry[] calldata entries) private view returns (uint256 end, bytes32 digest) {
        end = from + entries.length;
        digest = queueDigest[from];
        for (uint256 i; i < entries.length; ++i) {
            digest = Challenges.queueDigest(digest, Challenges.sentEntryHash(entries[i]));
        }
        if (digest != queueDigest[end]) revert QueueMismatch();
    }

    function payNative(address to, uint256 amount) private {
        (bool ok,) = to.call{value: amount}("");
        if (!ok) revert TransferFailed(NATIVE);
    }

    /// Tokens that return nothing are taken at their word, unless their code is gone; anything but `true` is a refusal.
    function callToken(uint16 token, address erc20, bytes memory data) private {
        (bool ok, bytes memory answer) = erc20.call(data);
        bool agreed = answer.length == 0 ? erc20.code.length != 0 : answer.length >= 32 && uint256(bytes32(answer)) == 1;
        if (!ok || !agreed) revert TransferFailed(token);
    }

    // ---------------------------------------------------------------------------------------------------------------------------------------------
    // Internals: commit
    // ---------------------------------------------------------------------------------------------------------------------------------------------

    function requireCircuit(uint256 circuit) private view {
        if (circuit == 0 || circuit > circuitCount) revert UnknownCircuit(circuit);
    }

    function requirePoints(Commit calldata batch) private pure {
        requirePoint(batch.number, Point.Key, batch.commitments[0], batch.commitments[1]);
        requirePoint(batch.number, Point.Dyn, batch.commitments[2], batch.commitments[3]);
        requirePoint(batch.number, Point.Owner, batch.commitments[4], batch.commitments[5]);
        requirePoint(batch.number, Point.Quotient, batch.cq[0], batch.cq[1]);
    }

    function requirePoint(uint256 number, Point point, uint256 x, uint256 y) private pure {
        if (!Bn254.isOnCurve(x, y)) revert PointNotOnCurve(number, point, x, y);
    }

    /// The entries must be the next ones of the queue.
    function takeEntries(Commit calldata batch, uint256 from) private view returns (uint256 end) {
        bytes32 digest;
        (end, digest) = requireQueued(from, batch.taken);
        if (digest != batch.queueDigest) revert QueueMismatch();
    }

    function depositsIn(uint256[] calldata choices) private pure returns (uint256 count) {
        for (uint256 i; i < choices.length; ++i) {
            if (choices[i] >> 8 != 0) ++count;
        }
    }

    function buildWords(Commit calldata batch, Shape memory shape) private view returns (uint256[] memory words) {
        (uint256[] calldata choices, Withdrawal[] calldata withdrawals) = (batch.choices, batch.withdrawals);
        QueueEntry[] calldata taken = batch.taken;
        if (choices.length != taken.length) revert WrongChoiceCount(choices.length, taken.length);
        uint256 deposits = depositsIn(choices);
        if (deposits > shape.deposits) revert TooManyDeposits(deposits, shape.deposits);
        if (withdrawals.length > shape.withdrawals) revert TooManyWithdrawals(withdrawals.length, shape.withdrawals);
        words = new uint256[](Words.WITHDRAWAL_WORDS * withdrawals.length + Words.DEPOSIT_WORDS * deposits);
        uint256 at = putWithdrawals(withdrawals, words);
        for (uint256 i; i < choices.length; ++i) {
            at = putDeposit(taken[i], choices[i], words, at);
        }
    }

    function putWithdrawals(Withdrawal[] calldata withdrawals, uint256[] memory words) private pure returns (uint256 at) {
        for (uint256 i; i < withdrawals.length; ++i) {
            Withdrawal calldata withdrawal = withdrawals[i];
            if (withdrawal.w0 >= W0_CAP) revert WithdrawalOutOfRange(i, withdrawal.w0);
            if (withdrawal.amount >= SUPPLY_CAP) revert WithdrawalOutOfRange(i, withdrawal.amount);
            if (withdrawal.recipient >= ADDRESS_CAP) revert WithdrawalOutOfRange(i, withdrawal.recipient);
            (words[at], words[at + 1], words[at + 2]) = (withdrawal.w0, withdrawal.amount, withdrawal.recipient);
            at += Words.WITHDRAWAL_WORDS;
        }
    }

    /// K = slot 2^16 + token is built here; amount, owner and key were ranged when the entry was queued.
    function putDeposit(QueueEntry calldata entry, uint256 choice, uint256[] memory words, uint256 at) private view returns (uint256) {
        if (choice & 0xff != entry.kind) revert WrongChoiceKind(choice, entry.kind);
        uint256 slot = choice >> 8;
        if (slot == 0) return at;
        if (slot >> k != 0) revert SlotOutOfRange(slot);
        (words[at], words[at + 1]) = (slot << 16 | entry.token, entry.amount);
        (words[at + 2], words[at + 3]) = (uint160(entry.owner), entry.key);
        return at + Words.DEPOSIT_WORDS;
    }

    // ---------------------------------------------------------------------------------------------------------------------------------------------
    // Internals: prove
    // ---------------------------------------------------------------------------------------------------------------------------------------------

    function firstUnproven(BatchProof[] calldata batches, uint256 proven_) private pure returns (uint256 first) {
        while (first < batches.length && batches[first].record.header.number <= proven_) ++first;
        if (first == batches.length) revert NothingToProve();
    }

    /// Returns the hash of the batch's header.
    function checkBatch(Proving memory p, BatchProof calldata batch, uint256 expected, uint256 last) private view returns (bytes32) {
        uint256 number = batch.record.header.number;
        if (number != expected) revert WrongNumber(number, expected);
        if (number > last) revert NotCommitted(number);
        uint256[18] memory record = Challenges.words(batch.record);
        if (Challenges.hashWords(record, 18) != batchHash[number]) revert RecordMismatch(number);
        if (batch.record.header.oldRoot != p.root) revert OldRootMismatch(number);
        if (batch.e >= Bn254.R) revert PublicInputOutOfRange(batch.e);
        if (batch.z >= Bn254.R) revert PublicInputOutOfRange(batch.z);
        if (batch.delta >= Bn254.R) revert PublicInputOutOfRange(batch.delta);
        requirePoint(number, Point.A, batch.groth16[0], batch.groth16[1]);
        requirePoint(number, Point.C, batch.groth16[6], batch.groth16[7]);
        requirePoint(number, Point.Opening, batch.opening[0], batch.opening[1]);
        return Challenges.hashWords(record, 14);
    }

    /// Weights: a_i = weight(2i), a_1 = 1; b_i = weight(2i + 1).
    function addBatch(Proving memory p, uint256[6] calldata before, BatchProof calldata batch, bytes32 header, uint256 i) private view {
        Kzg.Challenge memory challenge;
        challenge.rho = Challenges.rho(domain, header);
        challenge.zeta = Challenges.zeta(challenge.rho, batch.record.cq);
        challenge.gamma = Challenges.gamma(challenge.zeta, batch);
        uint256[8] memory inputs =
            [challenge.rho, challenge.zeta, batch.record.header.h, batch.e, batch.z, batch.delta, batch.record.yDa, batch.record.yOps];
        uint256 weight = i == 0 ? 1 : Challenges.weight(p.seed, 2 * i);
        Groth16.add(p.circuits[batch.record.header.circuit - 1], p.pairs, batch.groth16, inputs, weight);
        Kzg.add(p.kzg, before, batch, challenge, Challenges.weight(p.seed, 2 * i + 1));
    }

    /// The one pairing check; `last` are the commitments after the last batch.
    function holds(Proving memory p, uint256[6] calldata last) private view returns (bool) {
        Keys.Shared memory shared = Keys.readShared(keys, k);
        uint256 weights;
        for (uint256 c; c < p.circuits.length; ++c) {
            if (!p.circuits[c].used) continue;
            weights = addmod(weights, p.circuits[c].scalars[0], Bn254.R);
            Groth16.close(p.circuits[c], p.pairs, p.kzg.g2, Keys.readCircuit(keys, c + 1));
        }
        Bn254.Sum memory alphas;
        Bn254.addMul(alphas, shared.alpha[0], shared.alpha[1], weights);
        Bn254.push(p.pairs, alphas.x, alphas.y, shared.beta[0], shared.beta[1], shared.beta[2], shared.beta[3]);
        Kzg.close(p.kzg, p.pairs, last, shared.l0, shared.tau);
        Bn254.push(p.pairs, p.kzg.g2.x, p.kzg.g2.y, Bn254.G2_X1, Bn254.G2_X0, Bn254.G2_Y1, Bn254.G2_Y0);
        return Bn254.productIsOne(p.pairs);
    }
}
